#!/usr/bin/env python3
"""Turns a screen of tmux into a page, for a picture of it.

    tmux capture-pane -p -e | docs/images/terminal.py > screen.html

Understands what `hsm status --watch` uses: bold and the eight colours.
"""
import html
import re
import sys

COLOURS = {"31": "#f28b82", "33": "#f0b373"}


def spans(line, state):
    out = []
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not part.startswith("\x1b"):
            bold = "font-weight:700;" if state["bold"] else ""
            out.append(f'<span style="{bold}color:{state["colour"] or "inherit"}">{html.escape(part)}</span>')
            continue
        for code in part[2:-1].split(";"):
            if code in ("", "0"):
                state.update(bold=False, colour=None)
            elif code == "1":
                state["bold"] = True
            elif code == "39":
                state["colour"] = None
            elif code in COLOURS:
                state["colour"] = COLOURS[code]
    return "".join(out)


state = {"bold": False, "colour": None}
body = "\n".join(spans(line.rstrip("\n"), state) for line in sys.stdin)
print(f"""<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #10191b; color: #d6dfdc; }}
pre {{ margin: 0; padding: 22px 26px; font: 15px/1.45 "DejaVu Sans Mono", monospace; }}
</style><pre>{body}</pre>""")
