# Shared by the scripts of this folder; source it. Everything lives in one scratch folder and is removed at the
# end; every process that is ended is one that was started here. PostgreSQL and PgBouncer refuse to run as root:
# then they, and all others, run as $RUN_AS.
# shellcheck shell=bash
set -u
bench_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUN_AS=${RUN_AS:-postgres}
PATH=${PGBIN:-/usr/lib/postgresql/15/bin}:/usr/sbin:/sbin:$PATH
unset "${!PG@}" # nobody's psql settings
export LC_ALL=C
results=${results:-} # where samples go
scratch=
started=() # every process of ours
clusters=()

die() {
    echo "error: $*" >&2
    exit 1
}
note() { echo "[$(date +%H:%M:%S)] $*" >&2; }
calc() { awk "BEGIN { printf \"%.6g\", $* }"; }

# --- what must be there -----------------------------------------------------------------------------

missing=()
# need COMMAND PACKAGE: remembers the package if the command is not there.
need() { command -v "$1" >/dev/null || missing+=("$2"); }
# need_pc MODULE PACKAGE: the same for what pkg-config must know.
need_pc() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }
have_all() {
    [ ${#missing[@]} -eq 0 ] || die "missing: apt-get install $(printf '%s\n' "${missing[@]}" | sort -u | paste -sd ' ')"
}

# --- processes --------------------------------------------------------------------------------------

# as_user COMMAND..: in the place of this shell, so that the process keeps its number.
as_user() {
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid="$RUN_AS" --regid="$RUN_AS" --init-groups -- "$@"
    else
        exec "$@"
    fi
}
by_user() { (as_user "$@"); }

# spawn LOG COMMAND..: in the background; its number in `spawned`.
spawn() {
    local log=$1
    shift
    (as_user "$@") >"$log" 2>&1 </dev/null &
    spawned=$!
    started+=("$spawned")
}

end() {
    local pid=$1 p left=()
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    for p in ${started[@]+"${started[@]}"}; do [ "$p" = "$pid" ] || left+=("$p"); done
    started=(${left[@]+"${left[@]}"})
}

clean_up() {
    local p d
    for p in ${started[@]+"${started[@]}"}; do kill "$p" 2>/dev/null; done
    for d in ${clusters[@]+"${clusters[@]}"}; do by_user pg_ctl -D "$d" -m immediate -w stop >/dev/null 2>&1; done
    wait 2>/dev/null
    if [ -n "${KEEP:-}" ]; then
        note "kept $scratch"
    elif [ -n "$scratch" ]; then
        rm -rf "$scratch"
    fi
}

make_scratch() {
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-bench.XXXXXXXX") || exit 1
    chmod 755 "$scratch"
    [ "$(id -u)" != 0 ] || chown "$RUN_AS": "$scratch"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    ulimit -n "$(ulimit -Hn)"
}

free_port() {
    python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_port PORT PID: until somebody listens; fails when that process has ended instead.
wait_port() {
    local _
    for _ in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# --- what is measured, and with what ----------------------------------------------------------------

# Builds the programs of this folder, and pgkeep, unless `binary` names one. They are copied, because the user of
# the servers may not be able to read this tree.
build_tools() {
    local targets=(bench)
    [ -n "$binary" ] || targets+=(pgkeep)
    (cd "$bench_root" && cmake --preset release && cmake --build --preset release --target "${targets[@]}") \
        >"$scratch/build.log" 2>&1 || die "the build failed: $(tail -n 30 "$scratch/build.log")"
    tools=$scratch
    cp "$bench_root"/build/release/bench/bench_* "$tools/" || exit 1
    cp "${binary:-$bench_root/build/release/pgkeep}" "$scratch/pgkeep" || exit 1
}

make_certificate() { # RSA 2048, as most have
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout "$scratch/tls.key" \
        -out "$scratch/tls.crt" 2>/dev/null || die "openssl req"
    chmod 600 "$scratch/tls.key"
    [ "$(id -u)" != 0 ] || chown "$RUN_AS": "$scratch"/tls.*
}

# make_cluster DIRECTORY PORT [SETTING..]
make_cluster() {
    local home=$1 port=$2
    shift 2
    by_user initdb -D "$home" -U bench -A trust --locale=C -E UTF8 >/dev/null || die "initdb"
    printf '%s\n' "port = $port" "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$scratch'" "jit = off" \
        "autovacuum = off" "$@" >>"$home/postgresql.conf"
    by_user pg_ctl -D "$home" -l "$home.log" -w start >/dev/null || die "PostgreSQL: $(tail -n 3 "$home.log")"
    clusters+=("$home")
}

# --- samples ----------------------------------------------------------------------------------------

cpu_of() { "$tools/bench_meter" cpu "$1"; }
busy() { "$tools/bench_meter" busy | cut -d' ' -f1; }

# quiet PERCENT: waits, at most three minutes, until the machine has nothing else to do.
quiet() {
    local _ before
    [ "$1" -lt 100 ] || return 0
    for _ in $(seq 360); do
        before=$(busy)
        sleep 0.5
        [ "$(calc "200 * ($(busy) - $before) / $(nproc) < $1")" = 1 ] && return 0
    done
}

# emit SUITE CASE ROUND CONTENDER METRIC=VALUE..
emit() {
    local suite=$1 cell=$2 round=$3 who=$4 pair
    shift 4
    for pair in "$@"; do
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$suite" "$cell" "$round" "$who" "${pair%%=*}" "${pair#*=}" >>"$results/raw.tsv"
    done
}
