/** The scripts that tell a shell how to ask us for completions. */

/** Shells that are supported. */
export const SHELLS = ["bash", "fish", "zsh"] as const;

/** A supported shell. */
export type Shell = typeof SHELLS[number];

const BASH = `_cfs_complete() {
    local line="\${COMP_LINE:0:COMP_POINT}" words current reply directive strip
    read -ra words <<< "$line"
    [[ "$line" =~ [[:space:]]$ ]] && words+=("")
    current="\${words[\${#words[@]}-1]}"
    mapfile -t reply < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
    (( \${#reply[@]} )) || return
    directive="\${reply[\${#reply[@]}-1]}"
    unset 'reply[\${#reply[@]}-1]'
    # The shell breaks words at some characters, so only what follows the last of them is replaced.
    strip=""
    [[ "$COMP_WORDBREAKS" == *:* && "$current" == *:* ]] && strip="\${current%:*}:"
    [[ "$COMP_WORDBREAKS" == *=* && "\${current#"$strip"}" == *=* ]] && strip="\${current%=*}="
    COMPREPLY=()
    local candidate
    for candidate in "\${reply[@]}"; do
        candidate="\${candidate%%$'\\t'*}"
        COMPREPLY+=("\${candidate#"$strip"}")
    done
    if (( \${#COMPREPLY[@]} == 0 )); then
        current="\${current#"$strip"}"
        case "$directive" in
            :files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
            :directories) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        esac
    elif (( \${#COMPREPLY[@]} == 1 )) && [[ "\${COMPREPLY[0]}" =~ [=/:]$ ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -F _cfs_complete NAME 2>/dev/null || complete -F _cfs_complete NAME
`;

const ZSH = `#compdef NAME
_cfs_complete() {
    local -a reply values
    local candidate value directive
    reply=("\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
    (( \${#reply} )) || return 1
    directive="\${reply[-1]}"
    reply[-1]=()
    for candidate in $reply; do
        value="\${candidate%%$'\\t'*}"
        values+=("\${value//:/\\\\:}:\${candidate#*$'\\t'}")
    done
    if (( \${#values} )); then
        _describe -V 'values' values
    elif [[ "$directive" == ":files" ]]; then
        _files
    elif [[ "$directive" == ":directories" ]]; then
        _files -/
    fi
}
compdef _cfs_complete NAME
`;

const FISH = `function __cfs_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l reply ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    test (count $reply) -gt 0; or return
    set -l directive $reply[-1]
    set -e reply[-1]
    if test (count $reply) -gt 0
        printf '%s\\n' $reply
    else if test "$directive" = ":files"
        __fish_complete_path "$current"
    else if test "$directive" = ":directories"
        __fish_complete_directories "$current"
    end
end
complete --keep-order --no-files --command NAME --arguments "(__cfs_complete)"
`;

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, fish: FISH, zsh: ZSH };

/**
 * The script of a shell.
 *
 * @param shell The shell.
 * @param name Name of the program to complete.
 */
export function completionScript(shell: Shell, name: string): string {
  return SCRIPTS[shell].replaceAll("NAME", () => name);
}

/**
 * Whether a shell is supported.
 *
 * @param text Its name.
 */
export function isShell(text: string): text is Shell {
  return (SHELLS as readonly string[]).includes(text);
}
