# shellcheck shell=bash disable=SC2034
# What scripts/quickstart and scripts/test share: packages, progress, temporary places, a throwaway
# PostgreSQL, waiting, and an exit that ends what this shell started and nothing else. For bash.

set -euo pipefail
umask 022

pk_root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pk_pgbin=/usr/lib/postgresql/15/bin
pk_tmp=
pk_pids=() # processes of ours, ended at exit in reverse order
pk_started=$SECONDS

# Nobody's psql settings and nobody's language.
for pk_name in "${!PG@}" "${!PSQL@}" "${!LC_@}"; do
    unset "$pk_name"
done
export LC_ALL=C.UTF-8 PSQLRC=/dev/null PSQL_HISTORY=/dev/null PAGER=cat

if [ -t 1 ]; then
    pk_bold=$'\e[1m' pk_dim=$'\e[2m' pk_red=$'\e[31m' pk_off=$'\e[0m'
else
    pk_bold='' pk_dim='' pk_red='' pk_off=''
fi

say() { printf '%s\n' "$*"; }
note() { printf '%s%s%s\n' "$pk_dim" "$*" "$pk_off"; }
die() {
    printf '%s%s%s\n' "$pk_red" "$*" "$pk_off" >&2
    exit 1
}

# --- the machine -------------------------------------------------------------------------------

# As root: by itself, through sudo, or not at all.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root for: $* (run as root, or install sudo)"
    fi
}

pk_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Debian creates and starts a cluster when PostgreSQL is installed; these scripts bring their own and
# want to leave no server behind. postgresql-common reads the switch from one file, which is put back
# as it was.
pk_conf=/etc/postgresql-common/createcluster.conf
pk_without_main_cluster() {
    local status=0
    if ! pk_installed postgresql-common; then
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -q --no-install-recommends postgresql-common >>"$1" 2>&1 || return 1
    fi
    as_root cp -p "$pk_conf" "$pk_conf.before-pgkeep"
    printf '\ncreate_main_cluster = false\n' | as_root tee -a "$pk_conf" >/dev/null
    shift
    "$@" || status=$?
    as_root mv "$pk_conf.before-pgkeep" "$pk_conf"
    return $status
}

pk_apt_install() {
    local log=$1
    shift
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@" >>"$log" 2>&1
}

# need_packages NAME...: installs what is missing; without network, and without root, nothing happens
# when everything is there.
need_packages() {
    local name missing=() log
    command -v dpkg-query >/dev/null || die "these scripts install Debian packages; on another system see docs/testing.md"
    for name in "$@"; do
        pk_installed "$name" || missing+=("$name")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        note "all $# packages are there"
        return
    fi
    say "installing ${missing[*]}"
    log=$(mktemp)
    if ! as_root apt-get update -q >"$log" 2>&1; then
        note "apt-get update failed; trying with the lists that are there"
    fi
    local install=(pk_apt_install "$log" "${missing[@]}")
    case " ${missing[*]} " in
    *" postgresql-15 "*) install=(pk_without_main_cluster "$log" "${install[@]}") ;;
    esac
    if ! "${install[@]}"; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

# --- temporary places and processes ------------------------------------------------------------

make_tmp() {
    pk_tmp=$(mktemp -d /tmp/pgkeep-XXXXXXXX)
    chmod 711 "$pk_tmp" # the user that runs PostgreSQL must get through
}

# end_process PID: asks it to end, then asks again (PostgreSQL: without waiting for its clients), then
# insists.
end_process() {
    local how i
    for how in TERM INT KILL; do
        kill -$how "$1" 2>/dev/null || break
        for ((i = 0; i < 100; i++)); do
            kill -0 "$1" 2>/dev/null || break 2
            sleep 0.1
        done
    done
    wait "$1" 2>/dev/null || true
}

clean_up() {
    local i
    for ((i = ${#pk_pids[@]} - 1; i >= 0; i--)); do
        end_process "${pk_pids[i]}"
    done
    pk_pids=()
    [ -f "$pk_conf.before-pgkeep" ] && as_root mv "$pk_conf.before-pgkeep" "$pk_conf"
    [ -z "$pk_tmp" ] || rm -rf "$pk_tmp"
    pk_tmp=
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# wait_for SECONDS COMMAND...: until the command succeeds; a status of 2 says that it never will.
wait_for() {
    local end=$((SECONDS + $1)) status
    shift
    while :; do
        status=0
        "$@" >/dev/null 2>&1 || status=$?
        [ $status -ne 0 ] || return 0
        [ $status -ne 2 ] && [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

port_is_free() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
    local port i
    for ((i = 0; i < 100; i++)); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000)) # below the range of outgoing connections
        if port_is_free $port; then
            echo $port
            return
        fi
    done
    die "no free TCP port on 127.0.0.1"
}

# --- a throwaway PostgreSQL ----------------------------------------------------------------------

# PostgreSQL refuses to run as root; then it runs as the user postgres.
pk_as_postgres=()
[ "$(id -u)" -ne 0 ] || pk_as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

# start_postgres DIRECTORY PASSWORD: a cluster in DIRECTORY; sets pg_port and pg_pid. Superuser
# postgres, SCRAM, TCP on 127.0.0.1 and a socket in DIRECTORY.
start_postgres() {
    local home=$1 password=$2 try
    mkdir "$home"
    printf '%s\n' "$password" >"$home/pw"
    chmod 600 "$home/pw"
    [ "$(id -u)" -ne 0 ] || chown -R postgres:postgres "$home"
    if ! (cd / && "${pk_as_postgres[@]}" "$pk_pgbin/initdb" -D "$home/data" -U postgres --auth=scram-sha-256 \
        --pwfile="$home/pw" --no-sync --encoding=UTF8 --locale=C.UTF-8) >"$home.initdb" 2>&1; then
        cat "$home.initdb" >&2
        die "initdb failed"
    fi
    for try in 1 2 3; do
        pg_port=$(free_port)
        (cd / && exec setsid "${pk_as_postgres[@]}" "$pk_pgbin/postgres" -D "$home/data" -c port="$pg_port" \
            -c listen_addresses=127.0.0.1 -c unix_socket_directories="$home" -c fsync=off -c logging_collector=off) \
            </dev/null >>"$home.log" 2>&1 &
        pg_pid=$!
        pk_pids+=("$pg_pid")
        if wait_for 60 postgres_answers "$home"; then
            return
        fi
        kill -0 "$pg_pid" 2>/dev/null || note "PostgreSQL did not start on port $pg_port (try $try)"
        end_process "$pg_pid"
        grep -q 'in use' "$home.log" || break
    done
    tail -n 20 "$home.log" >&2
    die "PostgreSQL did not start"
}

postgres_answers() {
    kill -0 "$pg_pid" 2>/dev/null || return 2
    "$pk_pgbin/pg_isready" -q -h "$1" -p "$pg_port" || return 1
}
