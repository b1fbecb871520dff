#!/bin/bash
# Makes a folder with a MySQL server beside the system's MariaDB, for `make test-all`: mysqld of Debian's unstable suite
# with the libraries that it needs, from the mirror that apt uses here. Run as root; the server then runs as anybody.
# Usage: local/mysql.sh [FOLDER] (default: $MYSQL_FOLDER, else .local/mysql). Idempotent; takes two minutes and 0.4 GB.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
folder=${1:-${MYSQL_FOLDER:-$root/.local/mysql}}

say() { echo "mysql: $*"; }

fail() {
    echo "mysql: $*" >&2
    exit 1
}

mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

make_folder() {
    local uri
    uri=$(mirror)
    [[ $uri ]] || fail "apt knows no mirror of Debian here"
    mkdir -p "$folder"
    say "fetching mysql-server-core and what it needs (log: $folder/debootstrap.log)"
    # Only the first stage, which unpacks: nothing of it is ever configured or started but mysqld.
    debootstrap --foreign --variant=minbase --include=mysql-server-core unstable "$folder/root.part" "$uri" \
        > "$folder/debootstrap.log" 2>&1 || fail "debootstrap failed: $(tail -n 1 "$folder/debootstrap.log")"
    local package
    for package in "$folder"/root.part/var/cache/apt/archives/*.deb; do
        dpkg-deb --extract "$package" "$folder/root.part"
    done
    rm -rf "$folder/root.part/var/cache/apt" "$folder/root.part/debootstrap" "$folder"/root.part/usr/share/{doc,locale,man}
    mv "$folder/root.part" "$folder/root"
}

[[ -x $folder/root/usr/sbin/mysqld ]] && exit
[[ $EUID -eq 0 ]] || fail "not root: debootstrap needs it, the server does not"
for program in debootstrap dpkg-deb apt-get; do
    command -v $program > /dev/null || fail "$program is missing: apt-get install debootstrap"
done
rm -rf "$folder/root.part"
make_folder
say "done: $folder"
