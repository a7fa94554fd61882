"""An SMB client that keeps files open, for the suite beside it.

smbclient opens, does one thing and closes. What Office does lies between: handles
that stay open, oplocks that are broken under them, renames of open files. This
program does one such step for each line of JSON on its standard input, and answers
each with one line on its standard output.
"""

import base64
import hashlib
import json
import sys
import threading
import uuid

from smbprotocol import create_contexts as contexts
from smbprotocol.connection import Commands, Connection
from smbprotocol.exceptions import SMBResponseException
from smbprotocol.file_info import (
    FileAttributeTagInformation,
    FileEndOfFileInformation,
    FileInformationClass,
    FileRenameInformation,
)
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol.session import Session
from smbprotocol.structure import BytesField, FlagField, IntField, Structure
from smbprotocol.tree import TreeConnect

OPLOCKS = {"none": 0, "level2": 1, "exclusive": 8, "batch": 9}
DISPOSITIONS = {
    "supersede": CreateDisposition.FILE_SUPERSEDE,
    "open": CreateDisposition.FILE_OPEN,
    "create": CreateDisposition.FILE_CREATE,
    "open_if": CreateDisposition.FILE_OPEN_IF,
    "overwrite": CreateDisposition.FILE_OVERWRITE,
    "overwrite_if": CreateDisposition.FILE_OVERWRITE_IF,
}
ACCESS = {
    "attributes": FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES
    | FilePipePrinterAccessMask.SYNCHRONIZE,
    "read": FilePipePrinterAccessMask.GENERIC_READ,
    "write": FilePipePrinterAccessMask.GENERIC_READ
    | FilePipePrinterAccessMask.GENERIC_WRITE
    | FilePipePrinterAccessMask.DELETE,
    "delete": FilePipePrinterAccessMask.DELETE | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES,
}
BREAK_ID = 0xFFFFFFFFFFFFFFFF


class OplockBreak(Structure):
    """Notification, acknowledgement and answer look alike (MS-SMB2 2.2.23 to 2.2.25)."""

    COMMAND = Commands.SMB2_OPLOCK_BREAK

    def __init__(self):
        from collections import OrderedDict

        self.fields = OrderedDict(
            [
                ("structure_size", IntField(size=2, default=24)),
                ("oplock_level", IntField(size=1)),
                ("reserved", IntField(size=1)),
                ("reserved2", IntField(size=4)),
                ("file_id", BytesField(size=16)),
            ]
        )
        super().__init__()


class Breaks:
    """Stands where the library looks for the request of an answer: what the server
    says unasked ends here."""

    def __init__(self):
        self.response_event_lock = threading.Lock()
        self.response_event = threading.Event()
        self.session_id = 0
        self.message = {"reserved": IntField(size=4, default=0)}
        self.message["reserved"].set_value(0)
        self.async_id = None
        self.said = threading.Condition()
        self.found = []

    @property
    def response(self):
        return None

    @response.setter
    def response(self, header):
        notice = OplockBreak()
        notice.unpack(header["data"].get_value())
        with self.said:
            level, file_id = notice["oplock_level"].get_value(), notice["file_id"].get_value()
            self.found.append((level, file_id))
            self.said.notify_all()

    def of(self, file_id, seconds):
        def mine():
            return next((one for one in self.found if one[1] == file_id), None)

        with self.said:
            self.said.wait_for(lambda: mine() is not None, seconds)
            one = mine()
            if one is not None:
                self.found.remove(one)
        return one


class Client:
    def __init__(self, port, share, user, password):
        self.connection = Connection(uuid.uuid4(), "127.0.0.1", port)
        self.connection.connect(timeout=30)
        self.session = Session(self.connection, user, password, require_encryption=False)
        self.session.connect()
        self.tree = TreeConnect(self.session, rf"\\127.0.0.1\{share}")
        self.tree.connect()
        self.breaks = Breaks()
        self.connection.outstanding_requests[BREAK_ID] = self.breaks
        self.files = {}

    def open(self, handle, name, access="read", how="open", oplock="none", share="rwd",
             delete=False, through=False):
        file = Open(self.tree, name.replace("/", "\\"))
        options = CreateOptions.FILE_NON_DIRECTORY_FILE
        if delete:
            options |= CreateOptions.FILE_DELETE_ON_CLOSE
        if through:
            options |= CreateOptions.FILE_WRITE_THROUGH
        bits = {"r": 1, "w": 2, "d": 4}
        file.create(
            ImpersonationLevel.Impersonation,
            ACCESS[access],
            0,
            sum(bits[letter] for letter in share),
            DISPOSITIONS[how],
            options,
            oplock_level=OPLOCKS[oplock],
        )
        self.files[handle] = file
        granted = {level: word for word, level in OPLOCKS.items()}
        return {
            "oplock": granted.get(file.oplock_level, file.oplock_level),
            "attributes": file.file_attributes,
            "size": file.end_of_file,
        }

    def read(self, handle, offset=0, length=None):
        file, data = self.files[handle], b""
        end = file.end_of_file if length is None else offset + length
        while offset < end:
            part = file.read(offset, min(end - offset, 65536))
            data, offset = data + part, offset + len(part)
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def write(self, handle, offset, data, through=False):
        data, file = base64.b64decode(data), self.files[handle]
        for at in range(0, len(data), 65536):
            file.write(data[at : at + 65536], offset + at, write_through=through)
        return {"bytes": len(data)}

    def truncate(self, handle, size):
        info = FileEndOfFileInformation()
        info["end_of_file"] = size
        self.set(handle, info)
        return {}

    def rename(self, handle, to, replace=False):
        info = FileRenameInformation()
        info["replace_if_exists"] = replace
        info["file_name"] = to.replace("/", "\\")
        self.set(handle, info)
        return {}

    def set(self, handle, info):
        file = self.files[handle]
        request = SMB2SetInfoRequest()
        request["info_type"] = 1
        request["file_info_class"] = info.INFO_CLASS
        request["file_id"] = file.file_id
        request["buffer"] = info
        sent = self.connection.send(request, self.session.session_id, self.tree.tree_connect_id)
        self.connection.receive(sent)

    def attributes(self, handle):
        file = self.files[handle]
        request = SMB2QueryInfoRequest()
        request["info_type"] = 1
        request["file_info_class"] = FileInformationClass.FILE_ATTRIBUTE_TAG_INFORMATION
        request["file_id"] = file.file_id
        request["output_buffer_length"] = 8
        sent = self.connection.send(request, self.session.session_id, self.tree.tree_connect_id)
        answer = SMB2QueryInfoResponse()
        answer.unpack(self.connection.receive(sent)["data"].get_value())
        return {"attributes": int.from_bytes(answer["buffer"].get_value()[:4], "little")}

    def broken(self, handle, seconds):
        """Waits for the server to break the oplock and gives it up."""
        file = self.files[handle]
        one = self.breaks.of(file.file_id, seconds)
        if one is None:
            return {"broken": False}
        return {"broken": True, "to": one[0]}

    def acknowledge(self, handle, level):
        file, request = self.files[handle], OplockBreak()
        request["oplock_level"] = level
        request["file_id"] = file.file_id
        sent = self.connection.send(request, self.session.session_id, self.tree.tree_connect_id)
        self.connection.receive(sent)
        return {}

    def close(self, handle):
        self.files.pop(handle).close()
        return {}


def main():
    port, share, user, password = sys.argv[1:5]
    client = Client(int(port), share, user, password)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        step = json.loads(line)
        try:
            answer = getattr(client, step.pop("do"))(**step)
        except SMBResponseException as error:
            answer = {"error": f"{error.status:#010x}", "text": str(error)}
        print(json.dumps(answer), flush=True)


main()
