# shellcheck shell=bash disable=SC2034
# common.sh - what lab/setup and lab/build share: places, the cache key, messages, locks. Sourced, not run.

LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(dirname "$LAB")
SERIES="7.3 6.12 6.1"

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The Debian mirror is whatever this machine's own apt uses for its release.
mirror() {
    local codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' |
        awk -v release="$codename" '$1 == release && $2 == "main" { sub("/$", "", $3); print $3; exit }'
}

# A cache entry is named after everything that decides its content, so a changed recipe never meets an old entry.
cache_entry() {
    local key
    key=$({ cat "$LAB/setup" "$LAB/common.sh"; mirror; } | sha256sum | cut -c1-12)
    echo "${PASTE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/paste}/lab-$key"
}

# lock FILE SECONDS: holds FILE until this process ends.
lock() {
    mkdir -p "$(dirname "$1")"
    exec {lock_fd}> "$1"
    flock -n "$lock_fd" && return
    say "waiting for another run that holds $1"
    flock -w "$2" "$lock_fd" || die "$1 was not released within $2 s"
}
