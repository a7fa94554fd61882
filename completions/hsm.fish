# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_hsm_global_optspecs
    string join \n json q/quiet v/verbose config= h/help V/version
end

function __fish_hsm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_hsm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_hsm_using_subcommand
    set -l cmd (__fish_hsm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c hsm -n "__fish_hsm_needs_command" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_needs_command" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_needs_command" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_needs_command" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_needs_command" -s V -l version -d 'Print version'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "init" -d 'Set up a store and the trees to manage'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "scan" -d 'Bring the state DB up to date with the trees'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "plan" -d 'Show what tiering would do, and why'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "apply" -d 'Do what a plan file says'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "tier" -d 'Scan, upload and stub: the whole job'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "upload" -d 'Copy files to the store and keep them here'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "stub" -d 'Free the blocks of uploaded files'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "recall" -d 'Bring the data of stubs back'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "recall-guard" -d 'Recall stubs when programs open them'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "adopt" -d 'Make a copy of a stub a stub of its own'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "restore" -d 'Bring a tree back from the store, on this server or on a new one'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "pull" -d 'Bring another node\'s tree here, and keep it up to date'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "undelete" -d 'Put back files that were deleted'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "cat" -d 'Write one file\'s bytes to standard output, from the store'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "export" -d 'Write files from the store to standard output, as a tar archive'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "verify" -d 'Check the store against the files'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "status" -d 'Show how the trees stand'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "report" -d 'Write the policy workbench, a page to try policies out'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "ls" -d 'List files with their states'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "find" -d 'Find files by state, name, size, age or owner'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "du" -d 'Sum up sizes here and in the store'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "explain" -d 'Tell why a file is, or is not, tiered'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "log" -d 'Tell what happened to a file'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "recalls" -d 'Show what programs had recalled'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "history" -d 'Show the versions of a file'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "snapshot" -d 'Name what the store has at a moment, and keep it'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "manifest" -d 'Write what a backup of these roots does not contain'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "nodes" -d 'Show and manage the servers that share a store'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "rebuild" -d 'Make the state DB anew from the store and the stubs'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "pin" -d 'Keep files here whatever the policy says'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "unpin" -d 'Give pinned or excluded paths back to the policy'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "gc" -d 'Delete from the store what nobody needs any more'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "doctor" -d 'Check whether everything hsm relies on really works here'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "policy" -d 'Check and show policies'
complete -c hsm -n "__fish_hsm_needs_command" -f -a "demo" -d 'See it work on a small tree'
complete -c hsm -n "__fish_hsm_using_subcommand init" -l store -d 'Where copies go: file:///DIR, s3://BUCKET/PREFIX or swift://CONTAINER/PREFIX' -r
complete -c hsm -n "__fish_hsm_using_subcommand init" -l second-store -d 'Where the second copies go that rules with copies = 2 ask for' -r
complete -c hsm -n "__fish_hsm_using_subcommand init" -l key-file -d 'The key file to make or, for a store that is there, its key' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand init" -l endpoint -d 'Another S3 server than AWS; for Swift, where to log in' -r
complete -c hsm -n "__fish_hsm_using_subcommand init" -l region -d 'The region of an S3 or Swift store' -r
complete -c hsm -n "__fish_hsm_using_subcommand init" -l state-dir -d 'Keep the state DB here [default: /var/lib/hsm, or the XDG state directory]' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand init" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand init" -l anew -d 'The second store is empty because it was lost: begin it anew'
complete -c hsm -n "__fish_hsm_using_subcommand init" -l encrypt -d 'Encrypt everything in the store with a key file'
complete -c hsm -n "__fish_hsm_using_subcommand init" -l path-style -d 'Put the bucket in the path, not in the host name'
complete -c hsm -n "__fish_hsm_using_subcommand init" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand init" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand init" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand init" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand scan" -l threads -d 'Walk with this many threads [default: two per core, at most 16]' -r
complete -c hsm -n "__fish_hsm_using_subcommand scan" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand scan" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand scan" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand scan" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand scan" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand scan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand plan" -l as-of -d 'Plan as if it were this time (2026-12-31, now+30d, RFC 3339)' -r
complete -c hsm -n "__fish_hsm_using_subcommand plan" -s o -l output -d 'Write the plan to FILE, for hsm apply; - is standard output' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand plan" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand plan" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand plan" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand plan" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand plan" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand apply" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand apply" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand apply" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand apply" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand apply" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand apply" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand tier" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand tier" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand tier" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand tier" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand tier" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand tier" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand tier" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand upload" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand upload" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand upload" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand upload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand stub" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand stub" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand stub" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand stub" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l tier -d 'How soon the archive is to bring it: Expedited, Standard or Bulk [default: as in the configuration]' -r
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l days -d 'How many days the copy that can be read is kept [default: as in the configuration]' -r
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s r -l recursive -d 'Recall everything below the directories named'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l discard-local -d 'Throw away what was written over a stub and recall the copy'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l wait -d 'Wait until the archive has brought what is asked for, and recall it'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l pending -d 'Recall every file that was asked for and is ready by now'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand recall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l mount -d 'Mount SOURCE at TARGET, watched before any program can see it; TARGET alone is looked up in /etc/fstab, where its line should say noauto. May be given several times; what is mounted already is left as it is' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l type -d 'The type of the file system to mount [default: as in fstab or found on SOURCE]' -r
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -s o -l options -d 'Options of the mount, as in fstab and after those of fstab' -r
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l allow-system-fs -d 'Watch also file systems that the system or hsm itself needs'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l stop -d 'Ask the guard that runs to stop; says what would read as zeros'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l force -d 'With --stop: even if stubs read as zeros from then on'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand recall-guard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s r -l recursive -d 'Every copy of a stub that the last scan saw beneath the directories named'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -l data -d 'Read the copy and verify it'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -l any-reader -d 'Adopt a file also if users can read it who cannot read any file that its content is known of'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l to -d 'Restore below this directory, which is made if it is missing' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l as-of -d 'The files as they were in the store at this time (2026-01-31, 2026-01-31T14:00:00Z, now-90d)' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l snapshot -d 'The files as they were when this snapshot was made' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l version -d 'This version of the one path that is named, by its number in hsm history' -r
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l overwrite -d 'What to do about files that exist and differ [default: leave them alone]' -r -f -a "older\t'Replace a file whose modification time is before the version\'s'
always\t'Replace it'"
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l stubs -d 'Make stubs: all metadata now, the data on demand'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l data -d 'Restore the data, too [default]'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l strip-root -d 'Leave out the root\'s own path: its files come directly into --to'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -l to -d 'Mirror below this directory, which is made if it is missing' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand pull" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand pull" -l data -d 'Bring the data, too'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -l strip-root -d 'Leave out the root\'s own path: its files come directly into --to'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -s l -l list -d 'Only show what can come back, when it was deleted, and for how long it is kept'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -l stubs -d 'Make stubs: the data on demand'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand undelete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l as-of -d 'The files as they were in the store at this time (2026-01-31, 2026-01-31T14:00:00Z, now-90d)' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l snapshot -d 'The files as they were when this snapshot was made' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l version -d 'This version of the one path that is named, by its number in hsm history' -r
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand cat" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand cat" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand cat" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand export" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand export" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l as-of -d 'The files as they were in the store at this time (2026-01-31, 2026-01-31T14:00:00Z, now-90d)' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l snapshot -d 'The files as they were when this snapshot was made' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l version -d 'This version of the one path that is named, by its number in hsm history' -r
complete -c hsm -n "__fish_hsm_using_subcommand export" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand export" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand export" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand export" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand export" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l sample -d 'Read only this share (5%) or this much (100GiB), oldest check first' -r
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l store -d 'Check this store without a configuration' -r
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l data -d 'Read the objects and re-hash them'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l repair -d 'Upload again where the copy is bad and the local bytes are good, and put the second copy where the first is bad'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand status" -l runs -d 'Show this many runs' -r
complete -c hsm -n "__fish_hsm_using_subcommand status" -l metrics -d 'Write it to FILE for Prometheus\' textfile collector; - is standard output' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand status" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand status" -l watch -d 'Show it live on the terminal, until q or Ctrl-C'
complete -c hsm -n "__fish_hsm_using_subcommand status" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand status" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand status" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand report" -l html -d 'Write the page to FILE; - is standard output' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand report" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand report" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand report" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand report" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand report" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand ls" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand ls" -s r -l recursive -d 'List everything below, with paths'
complete -c hsm -n "__fish_hsm_using_subcommand ls" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand ls" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand ls" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand find" -l state -d 'In one of these states (repeatable)' -r -f -a "resident\t''
uploaded\t''
stub\t''
dirty\t''
damaged\t''
uploading\t''
stubbing\t''
recalling\t''"
complete -c hsm -n "__fish_hsm_using_subcommand find" -l type -d 'Of this kind' -r -f -a "file\t''
dir\t''
symlink\t''
other\t''"
complete -c hsm -n "__fish_hsm_using_subcommand find" -l name -d 'Whose last component matches this glob' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l larger -d 'Larger than this' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l smaller -d 'Smaller than this' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l older -d 'Modified longer ago (90d) or earlier (2026-01-31) than this' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l newer -d 'Modified more recently (90d) or later (2026-01-31) than this' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l owner -d 'Owned by this user (name or number)' -r
complete -c hsm -n "__fish_hsm_using_subcommand find" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand find" -s 0 -l null -d 'End each path with NUL, for names with newlines'
complete -c hsm -n "__fish_hsm_using_subcommand find" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand find" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand find" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand find" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand du" -s d -l depth -d 'Show directories this many levels down' -r
complete -c hsm -n "__fish_hsm_using_subcommand du" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand du" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand du" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand du" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand du" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand explain" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand explain" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand explain" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand explain" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand explain" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand log" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand log" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand log" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand log" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -l by -d 'Count together what one program, user or systemd unit had recalled' -r -f -a "exe\t'The program\'s path'
user\t'The user that it ran as'
unit\t'The systemd unit, else the control group'"
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -l since -d 'Only recalls since then (2026-01-31, now-7d, RFC 3339)' -r
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -l limit -d 'Show so many at most' -r
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand recalls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand history" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand history" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand history" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand history" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand history" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand history" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand history" -l newest-first -d 'Begin with the newest version'
complete -c hsm -n "__fish_hsm_using_subcommand history" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand history" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand history" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand history" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -f -a "create" -d 'Give what the store has now a name'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -f -a "list" -d 'List the snapshots of this server, or of all servers in the store'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -f -a "restore" -d 'Bring back the files as a snapshot has them'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -f -a "delete" -d 'Delete a snapshot'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and not __fish_seen_subcommand_from create list restore delete seal" -f -a "seal" -d 'Keep a snapshot from being deleted before a date'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l if-changed -d 'Make none where nothing has changed since the newest one'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l all -d 'Of every server that uses the store'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l to -d 'Restore below this directory, which is made if it is missing' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l stubs -d 'Make stubs: all metadata now, the data on demand'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l strip-root -d 'Leave out the root\'s own path: its files come directly into --to'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -l until -d '2037-01-01, 2037-01-01T12:00:00Z, now+10y' -r
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand snapshot; and __fish_seen_subcommand_from seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -s o -l output -d 'Write to FILE, which only its owner may read; - is standard output, the default' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l exclude-for -d 'Write the list of files to leave out for this program in place of the manifest' -r -f -a "restic\t''
borg\t''
rsync\t''
tar\t''"
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l exclude-to -d 'Write that list to FILE, beside the manifest' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l base -d 'The directory that rsync or tar is told to copy: rsync DIR/ TO, tar -C DIR . [default: /, for names with their whole path]' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l snapshot -d 'Make a snapshot of this name, which keeps what the manifest relies on' -r
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l check -d 'Check that the store still has everything that this manifest names' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l store -d 'Check with this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l endpoint -d 'Another S3 server than AWS, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l region -d 'The S3 region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand manifest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -f -a "list" -d 'List the nodes of a store'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -f -a "retire" -d 'End the log of a server that is lost'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and not __fish_seen_subcommand_from list retire renew" -f -a "renew" -d 'Make this server a new node of the store'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l store -d 'Read this store; no configuration is needed [default: the configured one]' -r
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l endpoint -d 'Another S3 server than AWS or the Swift login, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l region -d 'The region, for --store' -r
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l node -d 'The server that had the files: its host name, or the beginning of its id' -r
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l path-style -d 'Put the bucket in the path, not in the host name, for --store'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l until-segment -d 'The last good segment of a log that is damaged: it is ended behind it, and what came after is kept, but says nothing any more' -r
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l forget -d 'Its files are needed no more either: the next collections delete what only it referred to, and nothing brings that back'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l yes -d 'Really do it'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l force -d 'Also a server that was at work within the last hour, or in a store that cannot refuse to replace an object'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from retire" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -l force -d 'Also if nothing is wrong with this server\'s log: the other of two clones'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand nodes; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -l node -d 'This server\'s node in the store: its id, the beginning of it, or its host name [default: the one whose log has the files that are here]' -r
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -l until-segment -d 'Read the log up to this segment, because the next one is damaged; this server then goes on as a new node of the store' -r
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -l force -d 'Replace a state DB that can be read, or continue another host\'s log'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand rebuild" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand pin" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand pin" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -l exclude -d 'Exclude: leave these paths alone altogether'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -l list -d 'Print what is pinned and excluded'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand pin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -l files-from -d 'Read paths from FILE, one per line; - is standard input' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -s 0 -l null -d 'Paths read end with NUL instead of a newline; without --files-from they come from standard input'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand unpin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l confirm -d 'Go on although so much of the store would be deleted' -r
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l store -d 'Look at this store without a configuration' -r
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l key-file -d 'The key file of an encrypted --store' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand gc" -s n -l dry-run -d 'Print what would be done and write nothing, not even to the state DB'
complete -c hsm -n "__fish_hsm_using_subcommand gc" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand gc" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand gc" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand doctor" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand doctor" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand doctor" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand doctor" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -f -a "check" -d 'Check policy files: every mistake with file, line and column'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -f -a "show" -d 'Show the rules in force, in the order they are tried'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and not __fish_seen_subcommand_from check show fields" -f -a "fields" -d 'List what a rule can ask and set'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from check" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from check" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -l policy -d 'Use these rules in place of policies.d (repeatable; read in order of name)' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from fields" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from fields" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from fields" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from fields" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand policy; and __fish_seen_subcommand_from fields" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c hsm -n "__fish_hsm_using_subcommand demo" -l config -d 'Use this configuration file; the variable HSM_CONFIG does the same' -r -F
complete -c hsm -n "__fish_hsm_using_subcommand demo" -l keep -d 'Leave tree, store and state for a look around'
complete -c hsm -n "__fish_hsm_using_subcommand demo" -l json -d 'Write one JSON object per line; the last one is the summary'
complete -c hsm -n "__fish_hsm_using_subcommand demo" -s q -l quiet -d 'Print only the data asked for and errors'
complete -c hsm -n "__fish_hsm_using_subcommand demo" -s v -l verbose -d 'Tell more on stderr; twice for details of every request'
complete -c hsm -n "__fish_hsm_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
