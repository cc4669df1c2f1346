#!/bin/sh
# Prepares .venv: the locked packages, this project, and what the embedded MongoDB needs of the system.
#
# Safe to run at any time, twice at once, and after an interruption: the stamp .venv/.ready goes first and comes back
# last, and holds what .venv was built from. With nothing to do it ends in milliseconds, without a word.
# apt-get runs only for what is missing, and only as root or by passwordless sudo; otherwise it says what to run.
#
#   PYTHON                  the interpreter to build on (default: python3.13, 3.12, 3.11 or python3)
#   TOUCHSTONE_MONGO_URI    your own MongoDB: then an embedded one that cannot start is only worth a warning
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."

newline='
'

say() { printf 'setup: %s\n' "$*"; }
warn() { say "warning: $*" >&2; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- What the system must have -------------------------------------------------------------------------------------

as_root() {
    # Without the lock (9), which a service started by a package would keep.
    if [ "$(id -u)" -eq 0 ]; then "$@" 9<&-; else sudo -n "$@" 9<&-; fi
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

# system_packages WHY PACKAGE...: installs them, or ends with the command that does.
system_packages() {
    why=$1
    shift
    command -v apt-get >/dev/null ||
        die "$why." "Install it with your system's package manager (on Debian and Ubuntu: $*) and run this again."
    may_install ||
        die "$why." "Run this, then try again:" "    sudo apt-get update && sudo apt-get install -y $*"
    say "$why: installing $* with apt-get ..."
    # A broken third-party list must not stop us; the installation says whether it matters.
    as_root apt-get -o DPkg::Lock::Timeout=120 -qq update || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -qq -y install "$@" >/dev/null ||
        die "apt-get could not install $*; its message is above."
}

# --- Python --------------------------------------------------------------------------------------------------------

# By running it: a version manager's shim exists for versions that do not. The limits are those of pyproject.toml.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }
makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Sets $python: the first that fits and makes venvs, else the first that fits.
find_python() {
    python=
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13."
        python=$PYTHON
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3; do
        fits "$candidate" || continue
        if makes_venvs "$candidate"; then
            python=$candidate
            return
        fi
        python=${python:-$candidate}
    done
    [ -n "$python" ] || die \
        "needs Python 3.11, 3.12 or 3.13, and found $(python3 --version 2>/dev/null || echo none)." \
        "Debian 12 and 13, Ubuntu 24.04:  sudo apt-get install -y python3 python3-venv" \
        "Ubuntu 22.04:                    sudo apt-get install -y python3.11 python3.11-venv" \
        "Elsewhere: install one (uv, pyenv, python.org) and name it: PYTHON=/path/to/python3.13 make setup"
}

ensure_ensurepip() {
    makes_venvs "$python" && return
    # Debian and Ubuntu keep ensurepip in a package of its own, for their own Python only.
    case $("$python" -c 'import sys, sysconfig; print(sysconfig.get_path("stdlib"), *sys.version_info[:2])') in
    /usr/lib/python3*' 3 '*) ;;
    *) die "$python has no ensurepip, so it cannot make a venv. Name another: PYTHON=/path/to/python3 make setup" ;;
    esac
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    # Asked for in the same breath, since check_mongod would come to it: one sudo, not two.
    "$python" -c 'import ctypes; ctypes.CDLL("libcurl.so.4")' 2>/dev/null || set -- libcurl4
    system_packages "$python cannot make a venv without $package" "$package" "$@"
    makes_venvs "$python" || die "$python still cannot make a venv; see: $python -c 'import ensurepip'"
}

# --- .venv ---------------------------------------------------------------------------------------------------------

# A venv knows its own path, so a moved or copied one is not ready.
packages_key=$(cksum requirements.lock scripts/setup.sh && pwd -P)
project_key=$(cksum pyproject.toml)

identity='import sys; print(sys.base_prefix, sys.version)'
right_python() {
    [ -x .venv/bin/python ] || return 1 # also when its interpreter was removed or upgraded
    [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -c "$identity")" = "$(.venv/bin/python -c "$identity")" ]
}

read_stamp() { stamp=$(cat .venv/.ready 2>/dev/null) || stamp=; }
packages_ready() { read_stamp && [ "${stamp%"$newline"*}" = "$packages_key" ] && right_python; }
venv_ready() { packages_ready && [ "${stamp##*"$newline"}" = "$project_key" ]; }

# The user's mirrors and certificates count (pip.conf, PIP_*); Python packages lying about (PYTHONPATH) do not.
pip() { PIP_USER=0 .venv/bin/python -I -m pip --disable-pip-version-check --no-input "$@"; }

install_packages() {
    find_python
    ensure_ensurepip
    say "Making .venv with $("$python" --version) ..."
    rm -rf .venv # what an interrupted run left, or an older lock installed
    "$python" -m venv .venv
    count=$(grep -v win32 requirements.lock | sed -n 's/^\([A-Za-z0-9][^= ]*\)==.*/\1/p' | sort -u | wc -l)
    say "Installing $((count)) locked packages (about a minute) ..."
    pip install --quiet --require-hashes -r requirements.lock
}

install_project() {
    say "Installing the command .venv/bin/touchstone ..."
    pip install --quiet --no-deps --no-build-isolation -e .
    pip check >/dev/null || {
        pip check >&2 || true
        die "requirements.lock lacks what pyproject.toml asks for: run make lock"
    }
}

prepare_venv() {
    started=$(date +%s)
    keep=false
    if packages_ready; then keep=true; fi
    rm -f .venv/.ready
    $keep || install_packages
    install_project
    printf '%s\n%s\n' "$packages_key" "$project_key" >.venv/.ready.new
    mv .venv/.ready.new .venv/.ready
    say "Done in $(($(date +%s) - started)) s."
}

# --- The embedded MongoDB ------------------------------------------------------------------------------------------

mongod_runs() {
    [ -x "$mongod" ] || chmod +x "$mongod"
    mongod_status=0
    mongod_says=$(LC_ALL=C "$mongod" --version 2>&1) || mongod_status=$?
    return "$mongod_status"
}

# Debian packages of the libraries that are not there, each once. Names ending in t64 provide the plain ones.
missing_libraries() {
    { printf '%s\n' "$mongod_says" && LC_ALL=C ldd "$mongod" 2>/dev/null; } |
        sed -n -e 's/.*shared libraries: \([^:]*\):.*/\1/p' -e 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' |
        sed -n -e 's/^libcurl\.so\.4$/libcurl4/p' -e 's/^lib\(ssl\|crypto\)\.so\.3$/libssl3/p' \
            -e 's/^liblzma\.so\.5$/liblzma5/p' -e 's/^libgcc_s\.so\.1$/libgcc-s1/p' |
        sort -u
}

check_mongod() {
    for mongod in .venv/lib/python*/site-packages/fiftyone/db/bin/mongod; do break; done
    if [ ! -f "$mongod" ]; then
        [ -n "${TOUCHSTONE_MONGO_URI:-}" ] ||
            warn "no embedded MongoDB exists for this system; set TOUCHSTONE_MONGO_URI to one of yours."
        return
    fi
    if ! mongod_runs; then
        first=$(printf '%s\n' "$mongod_says" | sed -n 1p)
        if [ -n "${TOUCHSTONE_MONGO_URI:-}" ]; then
            warn "the embedded MongoDB cannot start (${first:-status $mongod_status}); using TOUCHSTONE_MONGO_URI."
            return
        fi
        otherwise="Or set TOUCHSTONE_MONGO_URI to a MongoDB of yours."
        case $mongod_says in
        *GLIBC_*) die "the embedded MongoDB needs glibc 2.34: Debian 12, Ubuntu 22.04 or newer." "$otherwise" ;;
        esac
        # 132: illegal instruction
        [ "$mongod_status" -ne 132 ] ||
            die "the embedded MongoDB needs a processor with AVX (on ARM: ARMv8.2-A)." "$otherwise"
        libraries=$(missing_libraries)
        [ -n "$libraries" ] || die "the embedded MongoDB cannot start: ${first:-status $mongod_status}" "$otherwise"
        # shellcheck disable=SC2086  # one word per package
        system_packages "the embedded MongoDB lacks system libraries" $libraries
        mongod_runs || die "the embedded MongoDB still cannot start: $mongod_says" "$otherwise"
    fi
    : >.venv/.mongod-runs
}

# --- Go ------------------------------------------------------------------------------------------------------------

ready() { venv_ready && [ -e .venv/.mongod-runs ]; }

command -v git >/dev/null || system_packages "git is missing" git
if ready; then exit 0; fi

# One at a time. Children hold the lock too, so a killed run's pip is waited for.
if command -v flock >/dev/null; then
    exec 9<scripts
    flock -n 9 || {
        say "Another set-up is running here; waiting for it ..."
        flock 9
    }
fi
venv_ready || prepare_venv
[ -e .venv/.mongod-runs ] || check_mongod
