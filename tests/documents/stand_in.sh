# What stand-ins have in common.
fault() {
    echo "${0##*/}: $* (it is not really run: $WHY)" >&2
    exit 1
}
file() {
    [ -e "$REPO/$1" ] || fault "there is no $1 in the repository"
}
target() {
    grep -q "^$1:" "$REPO/Makefile" || fault "the Makefile has no target $1"
}
stop_service() {
    local id
    id=$(cat "$SCENE/service" 2>/dev/null) || return 0
    kill -TERM "$id" 2>/dev/null || return 0
    # It may stay as a zombie, if nobody waits for it.
    while grep -q '^State:.[^Z]' "/proc/$id/status" 2>/dev/null; do sleep 0.05; done
}
