#!/bin/bash
# Sets up what `make demo`, `make test` and `make bench` need: apt packages (when root), .venv with the packages of
# requirements.txt, each checked by its hash, and in it this checkout, editable. Idempotent; returns at once when nothing
# has changed since the last time.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/.setup-stamp

say() { echo "setup: $*"; }

fail() {
    echo "setup: $*" >&2
    exit 1
}

wanted_stamp() {
    echo "$root"
    cat "$root/requirements.txt" "$root/docker/build.txt" "$root/local/setup.sh" \
        "$root/plugins/sniffer_plugin.py" | sha256sum
    # What an editable install records of pyproject.toml: the command, the entry points, the source folders, the version.
    awk '/^\[/ { wanted = /^\[(build-system|project|tool\.hatch)/ } wanted' "$root/pyproject.toml" | sha256sum
}

is_done() {
    [[ -x $venv/bin/python && -f $stamp && $(< "$stamp") == "$(wanted_stamp)" && -z $(missing_server) ]]
}

missing_server() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    command -v mariadbd > /dev/null && command -v mariadb-install-db > /dev/null || echo mariadb-server
    command -v postgres > /dev/null || compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null || echo postgresql
}

find_python() {
    command -v python3.11 || fail "Python 3.11 is needed (found: $(python3 --version 2>&1 || echo none)); install it" \
        "so that python3.11 is on PATH"
}

# What the driver mysqlclient needs to be built, as far as the Python in use does not bring it.
missing_packages() {
    missing_server
    command -v pkg-config > /dev/null && pkg-config --exists mysqlclient || echo default-libmysqlclient-dev
    command -v pkg-config > /dev/null || echo pkg-config
    command -v gcc > /dev/null || echo gcc libc6-dev
    "$1" -c 'import os, sysconfig as s; os.stat(os.path.join(s.get_path("include"), "Python.h"))' 2> /dev/null ||
        echo python3.11-dev
    "$1" -c 'import ensurepip, venv' 2> /dev/null || echo python3.11-venv
}

install_packages() {
    [[ $EUID -eq 0 ]] || fail "not root: ask for 'sudo apt-get install $*', then run this again"
    command -v apt-get > /dev/null || fail "no apt-get here: install the equivalents of $* and run this again"
    say "apt-get install $*"
    local service news=()
    for service in mariadb postgresql prometheus; do
        [[ -e /etc/init.d/$service ]] || news+=("$service")
    done
    forbid_service_starts
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@" > /dev/null
    # The demo's metrics, and the tests of the alerts. Everything else works without it.
    command -v promtool > /dev/null || apt-get install -qq -y --no-install-recommends prometheus > /dev/null ||
        say "prometheus could not be installed: the demo will show no metrics"
    allow_service_starts
    # Only the servers' programs are wanted: ours are private, and a new system service would hold its port.
    if [[ -d /run/systemd/system ]]; then
        for service in "${news[@]}"; do
            if systemctl cat "$service" > /dev/null 2>&1; then
                systemctl disable --now "$service" > /dev/null 2>&1 || say "could not disable the system's $service service"
            fi
        done
    fi
}

# Debian's way to install a daemon without starting it; a policy that is there already stays as it is.
policy=/usr/sbin/policy-rc.d
forbid_service_starts() {
    [[ -e $policy ]] && return
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    trap allow_service_starts EXIT
    our_policy=yes
}

allow_service_starts() {
    if [[ ${our_policy:-} ]]; then
        rm -f $policy
        our_policy=
    fi
}

make_venv() {
    local version='import sys; sys.exit(sys.version_info[:2] != (3, 11))'
    if ! "$venv/bin/python" -c "$version" 2> /dev/null; then
        say "creating .venv with $1"
        "$1" -m venv --clear "$venv"
    fi
}

# The lines of one package in requirements.txt: its version and its hashes.
locked() {
    sed -n "/^$1==/,/[^\\\\]\$/p" "$root/requirements.txt"
}

install_uv() {
    local uv
    uv=$(locked uv | grep -Eo '^uv==[^ ]+')
    [[ $("$venv/bin/uv" --version 2> /dev/null) != "uv ${uv#uv==} "* ]] || return 0
    say "installing $uv"
    locked uv > "$venv/uv.txt"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$venv/uv.txt"
}

install() {
    VIRTUAL_ENV=$venv "$venv/bin/uv" pip install -q "$@" || fail "the packages could not be installed; the lines above say why"
}

install_requirements() {
    install_uv
    say "installing requirements.txt into .venv"
    install --require-hashes -r "$root/docker/build.txt"
    # Without isolation, what comes as source is built with docker/build.txt, not with what an index has today.
    # Compiled now: the many short processes of a stack would each compile TensorFlow or Airflow again wherever
    # PYTHONDONTWRITEBYTECODE is set.
    install --require-hashes --no-build-isolation --compile-bytecode -r "$root/requirements.txt"
    install --no-deps --no-build-isolation --editable "$root"
}

main() {
    is_done && return
    mkdir -p "$root/.local"
    exec 9> "$root/.local/setup.lock"
    flock 9
    is_done && return
    local python missing
    python=$(find_python)
    missing=$(missing_packages "$python")
    # shellcheck disable=SC2086  # names of packages, meant to be split
    [[ -z $missing ]] || install_packages $missing
    make_venv "$python"
    install_requirements
    wanted_stamp > "$stamp"
    say "done"
}

main
