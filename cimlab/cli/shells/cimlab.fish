# Completion of cimlab for fish: cimlab completion fish | source
function __cimlab
    set -l found (_CIMLAB_COMPLETE=(commandline -cp | string collect) cimlab 2>/dev/null)
    if set -q found[1]
        printf '%s\n' $found
    else
        set -l head (commandline -ct | string match -r '^.*=')
        __fish_complete_path (commandline -ct | string replace -r '^.*=' '') | string replace -r '^' "$head"
    end
end
complete -c cimlab -f -k -a '(__cimlab)'
