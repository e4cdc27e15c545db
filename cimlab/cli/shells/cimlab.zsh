#compdef cimlab
# Completion of cimlab for zsh, after compinit: eval "$(cimlab completion zsh)"
_cimlab() {
    local -a open closed
    local entry
    while IFS= read -r entry; do
        [[ -n $entry ]] || continue
        entry="${${entry%%$'\t'*}//:/\\:}:${entry#*$'\t'}"
        if [[ $entry == *=:* ]]; then open+=("$entry"); else closed+=("$entry"); fi
    done < <(_CIMLAB_COMPLETE="${(j: :)${(@Q)words[1,CURRENT]}}" "${words[1]}" 2>/dev/null)
    if (($#open + $#closed == 0)); then
        compset -P '*='
        _files
        return
    fi
    (($#closed)) && _describe -V cimlab closed -Q
    (($#open)) && _describe -V setting open -Q -S ''
}
compdef _cimlab cimlab
