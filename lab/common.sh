# shellcheck shell=bash disable=SC2034
# common.sh - what lab/setup and lab/build share: places, the cache key, messages, locks. Sourced, not run.

LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(dirname "$LAB")
SERIES="7.3 6.12 6.1"

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# listed FILE: the first URL that debootstrap can use in a list of mirrors, apt-transport-mirror(1): one a line, perhaps with
# words of apt's behind it, of which we know priority.
listed() {
    awk '!/^[[:space:]]*#/ && $1 ~ /^https?:/ {
             p = 2 ^ 31
             for (i = 2; i <= NF; i++) if ($i ~ /^priority:/) p = substr($i, 10) + 0
             if (url == "" || p < best) { best = p; url = $1 }
         }
         END { print url }' "$1"
}

# usable URI: what debootstrap and apt in the tree can use of it, or why they cannot and a failure.
usable() {
    local path url
    case $1 in
    http://* | https://*) echo "${1%/}" ;;
    mirror+file:*)
        path=${1#mirror+file:}
        path=/${path#"${path%%[!/]*}"}
        path=${path%/}
        [ -r "$path" ] || { echo "cannot read $path, which apt's sources name as a list of mirrors"; return 1; }
        url=$(listed "$path")
        [ -n "$url" ] || { echo "no http or https URL in $path, which apt's sources name as a list of mirrors"; return 1; }
        echo "${url%/}"
        ;;
    *) echo "apt's sources have Debian at $1, and the lab can use http and https only"; return 1 ;;
    esac
}

# The Debian mirror is whatever this machine's own apt uses for its release, by that name or another ("stable").
mirror() {
    local codename uri found why="apt knows no Debian mirror for this machine's release: apt-get update may help"
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    while read -r uri; do
        found=$(usable "$uri") && { echo "$found"; return; }
        why=$found
    done < <(apt-get indextargets --format '$(RELEASE) $(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)' |
        awk -v release="$codename" '($1 == release || $2 == release) && $3 == "main" && $4 == "Debian" { print $NF }' | uniq)
    say "$why"
    return 1
}

# A cache entry is named after everything that decides its content, so a changed recipe never meets an old entry.
cache_entry() {
    local key mirror
    mirror=$(mirror) || exit
    key=$({ cat "$LAB/setup" "$LAB/common.sh"; echo "$mirror"; } | sha256sum | cut -c1-12)
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
