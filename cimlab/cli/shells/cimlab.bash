# Completion of cimlab for bash: eval "$(cimlab completion bash)"
_cimlab() {
    local line="${COMP_LINE:0:COMP_POINT}" found=() lines=() entry word
    mapfile -t lines < <(_CIMLAB_COMPLETE="$line" "${COMP_WORDS[0]}" 2>/dev/null)
    for entry in "${lines[@]}"; do
        word="${entry%%$'\t'*}"
        [[ $word == *= ]] && compopt -o nospace
        # bash replaces what follows the last sign of COMP_WORDBREAKS that it split at
        [[ $COMP_WORDBREAKS == *=* && ${line##* } == *=* ]] && word="${word#*=}"
        # what a choice is stands beside it where several are listed, never where one is inserted
        if ((${#lines[@]} > 1)) && [[ $COMP_TYPE != 37 && $COMP_TYPE != 42 && $entry == *$'\t'?* ]]; then
            printf -v word '%-24s  %s' "$word" "${entry#*$'\t'}"
            word="${word:0:${COLUMNS:-80}-2}"
        fi
        found+=("$word")
    done
    COMPREPLY=("${found[@]}")
}
complete -o default -o nosort -F _cimlab cimlab
