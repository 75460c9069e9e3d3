# shellcheck shell=bash disable=SC2016
# tree.sh - what lab/build and lab/tree share: a copy of the sources in lab/out/NAME, and commands in the lab's Debian
# tree with that directory as /build. Sourced, not run.

TREE_TIMEOUT=2700

# use_tree NAME [KEY]: makes what is missing and sets tree (the root directory) and out (lab/out/NAME, held by a lock). What
# was built there with another KEY, or in another tree, is of no use and goes.
use_tree() {
    local entry made_of
    "$LAB/setup"
    entry=$(cache_entry)
    touch "$entry"
    tree=$entry/tree
    out=$LAB/out/$1
    lock "$out/lock" $TREE_TIMEOUT
    made_of="$entry${2:+ $2}"
    if [ "$(cat "$out/made-of" 2> /dev/null)" != "$made_of" ]; then
        find "$out" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
        echo "$made_of" > "$out/made-of"
        echo "$entry" > "$out/entry"
    fi
    copy_sources
}

# What has changed since it was copied last gets the present time, whatever its own: a file may be written while an older copy
# of it is built. All others keep theirs, so make sees only what changed; what left the repository leaves the copy.
copy_sources() {
    local git=(git -C "$REPO" -c safe.directory='*')
    local list=("${git[@]}" ls-files --exclude-standard)
    mkdir -p "$out/paste"
    touch "$out/sources" "$out/sums"
    comm -23 <("${list[@]}" -co | sort -u) <("${list[@]}" -d | sort -u) > "$out/sources.new"
    comm -13 "$out/sources.new" "$out/sources" | (cd "$out/paste" && xargs -r -d '\n' rm -f)
    (
        cd "$REPO" || exit
        paste <("${git[@]}" hash-object --no-filters --stdin-paths < "$out/sources.new") \
            <(xargs -d '\n' stat -c %a < "$out/sources.new") "$out/sources.new"
    ) | sort > "$out/sums.new"
    comm -23 "$out/sums.new" "$out/sums" | cut -f 3- | tar -C "$REPO" -c -T - | tar -C "$out/paste" -x --touch
    mv "$out/sources.new" "$out/sources"
    mv "$out/sums.new" "$out/sums"
}

# in_tree SCRIPT [ARGUMENT...], as in bash -c. Everything is mounted in a namespace of its own, so nothing stays mounted
# whatever happens; what the script changes outside of /build goes with it. The directory headers, if set, is its /mnt.
in_tree() {
    timeout --foreground $TREE_TIMEOUT unshare --mount --propagation private bash -euc '
        tree=$1 out=$2 headers=$3; shift 3
        mount -t tmpfs tmpfs "$tree/mnt"
        mkdir "$tree/mnt/root" "$tree/mnt/changes" "$tree/mnt/work"
        root=$tree/mnt/root
        mount -t overlay overlay -o "lowerdir=$tree,upperdir=$tree/mnt/changes,workdir=$tree/mnt/work" "$root"
        mount --bind "$out" "$root/build"
        [ -z "$headers" ] || mount --bind "$headers" "$root/mnt"
        mount --bind /dev "$root/dev"
        mount --bind /proc "$root/proc"
        exec chroot "$root" env -i LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin HOME=/root bash -euc "$@"' - "$tree" "$out" "${headers:-}" "$@"
}
