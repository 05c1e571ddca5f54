# Sourced by the commands beside it: the environment they share, which is .venv in the checkout.

die() {
    echo "$*" >&2
    exit 1
}

# What an installation depends on. The Python sources are not among it: they are used where they are.
fingerprint() {
    find pyproject.toml jupyter-config frontend -type f \
        -not -path '*/node_modules/*' -not -path 'frontend/lib/*' -not -path 'frontend/test/*' \
        -not -name '*.tsbuildinfo' -print0 |
        sort -z | xargs -0 cat | cat - <(pwd) | python3 -c \
        'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
}

need_node() {
    local version
    version=$(node --version 2>/dev/null) ||
        die "Node.js is missing, and the front end is built with it. Install Node.js 20 or newer and try again."
    version=${version#v}
    [ "${version%%.*}" -ge 20 ] ||
        die "Node.js $version is too old to build the front end. Install Node.js 20 or newer and try again."
    command -v npm >/dev/null ||
        die "npm is missing, and the front end is built with it. Install it beside Node.js and try again."
}

# make_environment STAMP ACCEPTED REQUIREMENT...
#
# Installs the requirements and notes that in STAMP, unless one of the ACCEPTED stamps (a list in one word) says
# that it was done for the same sources.
make_environment() {
    local stamp=$1 accepted=$2 now
    shift 2
    command -v python3 >/dev/null || die "python3 is missing. Install Python 3.10 or newer and try again."
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$(python3 --version) is too old. Install Python 3.10 or newer and try again."
    now=$(fingerprint)
    for name in $accepted; do
        if [ -f ydoc_exec/labextension/package.json ] && [ "$(cat ".venv/$name" 2>/dev/null)" = "$now" ]; then
            return
        fi
    done
    need_node
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "Making .venv"
        rm -rf .venv
        python3 -m venv .venv ||
            die "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"
    fi
    echo "Installing into .venv and building the front end. The first time takes a few minutes."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"
    echo "$now" >".venv/$stamp"
}

# npm_packages FOLDER: what its package-lock.json names, installed once.
npm_packages() {
    local stamp=$1/node_modules/.ydoc_exec now
    now=$(cat "$1/package.json" "$1/package-lock.json" | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
        need_node
        echo "Installing the packages of $1"
        (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
        echo "$now" >"$stamp"
    fi
}
