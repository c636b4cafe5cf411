#!/usr/bin/env bash
# pgkeep beside PostgreSQL alone, a bare copy loop, PgBouncer and HAProxy: latency, throughput, CPU, new
# connections, COPY, TLS, memory of idle connections. Contenders take turns within each round, and a ratio is
# the median of the ratios within a round, so that a drift of the machine's speed cancels out.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
usage: bench/proxy.sh [options]

  --quick            3 rounds, samples of a second, fewer cases, COPY of 0.15 GB: about 4 minutes
  --rounds N         (7)           --seconds N   of one sample (4); about an hour
  --suites LIST      ping,query,pipe,connect,copy,tls,loops,idle,micro (all of them)
  --contenders LIST  direct,relay,pgbouncer,haproxy,pgkeep (all of them)
  --binary FILE      the pgkeep to measure (build/release/pgkeep, which is built)
  --quiet PERCENT    wait before each sample until other processes take less of the machine than
                     this, and take it again, at most six times, if they took more (100: never)
  --results DIR      where raw.tsv and tables.md go (a new folder in TMPDIR)

Needs Debian's postgresql-15 libpq-dev pgbouncer haproxy openssl, besides what a build needs; says
what is missing. As root the servers run as the user postgres (RUN_AS). PGBIN says where PostgreSQL's
programs are. TMPDIR on a memory file system (2 GB) keeps disks out of it. KEEP=1 keeps the logs.
END
}

rounds=7 seconds=4 suites=ping,query,pipe,connect,copy,tls,loops,idle,micro quiet=100
contenders=direct,relay,pgbouncer,haproxy,pgkeep binary='' results='' quick=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 rounds=3 seconds=1 && shift ;;
    --help | -h) usage && exit 0 ;;
    --rounds | --seconds | --suites | --contenders | --binary | --quiet | --results)
        [ $# -ge 2 ] || die "$1 needs a value"
        printf -v "${1#--}" %s "$2" && shift 2 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
pings="simple prepared" queries="simple extended prepared" client_counts="1 8 32"
pipes="1 8" connects="1 8" idle_counts="1000 10000" wide_rows=1000000
if [ -n "$quick" ]; then
    pings=simple queries="simple prepared" client_counts=8
    pipes=8 connects=8 idle_counts=1000 wide_rows=150000
fi
has() { [[ ,$suites, == *,$1,* ]]; }
is_in() { [[ ,$contenders, == *,$1,* ]]; }

need initdb postgresql-15
need pgbench postgresql-15
need cmake cmake
need ninja ninja-build
need gcc gcc
need openssl openssl
need python3 python3
need pkg-config pkg-config
need_pc libpq libpq-dev
! is_in pgbouncer || need pgbouncer pgbouncer
! is_in haproxy || need haproxy haproxy
have_all

if [ -n "$binary" ]; then
    [ -x "$binary" ] || die "$binary is not a program"
    binary=$(realpath "$binary")
fi
make_scratch
results=${results:-$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-results.XXXXXXXX")}
mkdir -p "$results" && : >"$results/raw.tsv" && : >"$results/notes.txt"
results=$(realpath "$results")
build_tools
processors=$(nproc)
# So many sessions fit through a proxy, at two descriptors each, when some are left for itself.
most_sessions=$((($(ulimit -n) - 200) / 2))

# --- contenders -------------------------------------------------------------------------------------

declare -A port=() pid=()
read -ra list <<<"${contenders//,/ }"
export PGHOST=127.0.0.1 PGGSSENCMODE=disable PGSSLMODE=disable PGUSER=bench PGDATABASE=bench

start_relay() { spawn "$scratch/relay.$1.log" "$tools/bench_relay" "$1" "$2"; }
start_pgbouncer() { # PORT BACKEND MODE
    local ini=$scratch/pgbouncer.$1.ini
    printf '"bench" ""\n' >"$scratch/users.$1"
    cat >"$ini" <<END
[databases]
* = host=127.0.0.1 port=$2
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $1
unix_socket_dir =
auth_type = trust
auth_file = $scratch/users.$1
pool_mode = session
max_client_conn = $most_sessions
default_pool_size = ${pool:-280}
log_connections = 0
log_disconnections = 0
stats_period = 3600
logfile =
pidfile =
END
    if [ "$3" = tls ]; then
        printf '%s\n' "client_tls_sslmode = require" "client_tls_cert_file = $scratch/tls.crt" \
            "client_tls_key_file = $scratch/tls.key" >>"$ini"
    elif [ "$3" = scram ]; then
        psql -Atc "select format('\"%s\" \"%s\"', rolname, rolpassword) from pg_authid where rolname = 'bench_scram'" >"$scratch/users.$1"
        sed -i 's/^auth_type = .*/auth_type = scram-sha-256/' "$ini"
    fi
    chmod 644 "$ini" "$scratch/users.$1"
    spawn "$scratch/pgbouncer.$1.log" pgbouncer "$ini"
}
start_haproxy() { # in TLS, too, it only passes bytes on: the server's TLS goes through
    cat >"$scratch/haproxy.$1.cfg" <<END
global
    maxconn $most_sessions
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen pg
    bind 127.0.0.1:$1
    server pg 127.0.0.1:$2
END
    chmod 644 "$scratch/haproxy.$1.cfg"
    spawn "$scratch/haproxy.$1.log" haproxy -db -q -f "$scratch/haproxy.$1.cfg"
}
# has_setting NAME: does this pgkeep know it? An older one may be measured too.
has_setting() { "$scratch/pgkeep" serve --help | grep -qE "^ +$1 "; }
not_offered() {
    note "$1: not offered by this binary"
    echo "$1: not offered by this binary" >>"$results/notes.txt"
}
start_pgkeep() { # one loop, as everybody else has one thread
    local more=(--set log.level=error)
    ! has_setting proxy.threads || more+=(--set proxy.threads="${loops:-1}")
    if [ "$3" = tls ]; then
        more+=(--set client_tls.cert_file="$scratch/tls.crt" --set client_tls.key_file="$scratch/tls.key")
    fi
    spawn "$scratch/pgkeep.$1.log" "$scratch/pgkeep" serve --listen "127.0.0.1:$1" --backend "127.0.0.1:$2" \
        --service "host=127.0.0.1 port=$server user=bench dbname=bench" --state "$scratch/state.$1" "${more[@]}"
}

# start NAME BACKEND MODE (plain, scram, tls): a contender; what is behind a "-" in its name is only a name.
start() {
    if [ "$1" = direct ]; then
        port[direct]=$2 pid[direct]=0
        return
    fi
    port[$1]=$(free_port)
    "start_${1%%-*}" "${port[$1]}" "$2" "$3"
    pid[$1]=$spawned
    wait_port "${port[$1]}" "$spawned" ||
        die "$1 does not listen: $(tail -n 3 "$scratch/${1%%-*}.${port[$1]}.log")"
}
end_all() {
    local who
    for who in "${!pid[@]}"; do [ "${pid[$who]}" = 0 ] || end "${pid[$who]}"; done
    port=() pid=()
}

# --- samples ----------------------------------------------------------------------------------------

# sample NAME COMMAND..: one run of a client. Sets wall, client_cpu, proxy_cpu, server_cpu (seconds), foreign (percent
# of the machine); what the client said is in $scratch/out.
sample() {
    local who=$1 _ busy0 busy1 proxy0 server0 user system
    shift
    for _ in 1 2 3 4 5 6; do
        quiet "$quiet"
        [ -z "${prepare:-}" ] || psql -qc "$prepare" || return 1
        proxy0=$(cpu_of "${pid[$who]}") server0=$(cpu_of "$server_pid")
        busy0=$(busy)
        "$tools/bench_meter" run "$scratch/run" "$@" >"$scratch/out" 2>"$scratch/err" || { cat "$scratch/err" >&2 && return 1; }
        busy1=$(busy)
        sleep 0.05 # the server's processes end, and are waited for
        read -r wall user system <"$scratch/run"
        client_cpu=$(calc "$user + $system")
        proxy_cpu=$(calc "$(cpu_of "${pid[$who]}") - $proxy0") server_cpu=$(calc "$(cpu_of "$server_pid") - $server0")
        foreign=$(calc "100 * ($busy1 - $busy0 - $proxy_cpu - $server_cpu - $client_cpu) / ($wall * $processors)")
        [ "$(calc "$foreign <= $quiet")" = 1 ] && return 0
    done
    note "kept a sample of $who with $foreign % of the machine taken by others"
}

# bench SUITE CASE ROUND NAME QUERIES-IN-A-TRANSACTION PGBENCH-ARGUMENTS..
bench() {
    local suite=$1 cell=$2 round=$3 who=$4 per=$5 done_ tps
    shift 5
    sample "$who" pgbench -n -p "${port[$who]}" -T "$seconds" "$@" || die "pgbench through $who"
    done_=$(awk '/actually processed/ { print $NF }' "$scratch/out")
    tps=$(awk '/^tps/ { print $3 }' "$scratch/out")
    emit "$suite" "$cell" "$round" "$who" rate="$(calc "$tps * $per")" cpu="$(calc "$proxy_cpu / ($done_ * $per) * 1e6")" \
        foreign="$foreign"
}

# ping SUITE ROUND PROTOCOL NAME..: all of them in one run, in turns
ping() {
    local suite=$1 round=$2 protocol=$3 who infos=() before=() i=0 count mean p50 p90 p99 p999 most
    shift 3
    local all=("$@")
    for who in "$@"; do infos+=("port=${port[$who]}") && before+=("$(cpu_of "${pid[$who]}")"); done
    quiet "$quiet"
    "$tools/bench_ping" times "$seconds" "$protocol" "${infos[@]}" >"$scratch/out" || die "bench_ping"
    while read -r count mean p50 p90 p99 p999 most; do
        who=${all[i]}
        emit "$suite" "$protocol" "$round" "$who" p50="$p50" p90="$p90" p99="$p99" p999="$p999" mean="$mean" max="$most" \
            cpu="$(calc "($(cpu_of "${pid[$who]}") - ${before[i]}) / $count * 1e6")"
        i=$((i + 1))
    done <"$scratch/out"
}

# bulk SUITE CASE ROUND NAME COMMAND..: a COPY of $wide_gb
bulk() {
    local suite=$1 cell=$2 round=$3 who=$4
    shift 4
    sample "$who" "$@" || die "COPY through $who"
    emit "$suite" "$cell" "$round" "$who" rate="$(calc "$wide_gb * 1000 / $wall")" cpu="$(calc "$proxy_cpu / $wide_gb")" \
        foreign="$foreign"
}

# Nobody always comes first, or behind the same neighbour.
each_round() { # NAME FUNCTION
    local round
    for round in $(seq "$rounds"); do
        note "$1, round $round of $rounds"
        "$2" "$round"
        list=("${list[@]:1}" "${list[0]}")
        tls_list=("${tls_list[@]:1}" "${tls_list[0]}")
    done
}
threads_for() { if [ "$1" -lt "$processors" ]; then echo "$1"; else echo "$processors"; fi; }

# --- the database -----------------------------------------------------------------------------------

make_certificate
server=$(free_port)
note "building the database; results go to $results"
make_cluster "$scratch/pg" "$server" "fsync = off" "synchronous_commit = off" "full_page_writes = off" "shared_buffers = 1GB" \
    "max_connections = 300" "max_wal_size = 8GB" "wal_level = minimal" "max_wal_senders = 0" "checkpoint_timeout = 1h" \
    "ssl = on" "ssl_cert_file = '$scratch/tls.crt'" "ssl_key_file = '$scratch/tls.key'"
server_pid=$(head -n 1 "$scratch/pg/postmaster.pid")
export PGPORT=$server
createdb bench || die "createdb"
pgbench -q -i -s 10 >/dev/null 2>&1 || die "pgbench -i"
psql -qc "create role bench_scram superuser login password 'bench'" || die "role"
sed -i '1i host all bench_scram 127.0.0.1/32 scram-sha-256' "$scratch/pg/pg_hba.conf"
by_user pg_ctl -D "$scratch/pg" reload >/dev/null
if has copy || has tls; then # about 1 kB a row
    psql -qv ON_ERROR_STOP=1 -c "create unlogged table wide as select g as id, repeat(md5(g::text), 31) as pad
        from generate_series(1, $wide_rows) g" -c "create unlogged table wide_in (like wide)" || die "table"
    psql -qc "copy wide to stdout" >"$scratch/wide.copy"
    wide_gb=$(calc "$(stat -c %s "$scratch/wide.copy") / 1e9")
fi
psql -qc "vacuum analyze"
{
    printf '%s\n' '\startpipeline'
    for _ in $(seq 50); do echo 'SELECT 1;'; done
    printf '%s\n' '\endpipeline'
} >"$scratch/pipe.sql"
echo 'SELECT 1;' >"$scratch/one.sql"
{
    echo "$processors processors ($(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), Linux $(uname -r | cut -d. -f1-2)"
    postgres --version && openssl version
    ! is_in pgbouncer || pgbouncer --version | head -n 1
    ! is_in haproxy || haproxy -v | head -n 1
    "$scratch/pgkeep" --version
    echo "$rounds rounds, samples of $seconds s, everything over loopback"
} >"$results/machine.txt"

# --- suites -----------------------------------------------------------------------------------------

round_ping() {
    local protocol
    for protocol in $pings; do ping ping "$1" "$protocol" "${list[@]}"; done
}
round_query() {
    local protocol count who
    for protocol in $queries; do for count in $client_counts; do for who in "${list[@]}"; do
        bench query "$protocol, $count" "$1" "$who" 1 -S -M "$protocol" -c "$count" -j "$(threads_for "$count")"
    done; done; done
}
round_pipe() {
    local count who
    for count in $pipes; do for who in "${list[@]}"; do
        bench pipe "50 in a pipeline, $count" "$1" "$who" 50 -M extended -f "$scratch/pipe.sql" -c "$count" -j "$(threads_for "$count")"
    done; done
}
round_connect() {
    local count who
    for count in $connects; do for who in "${list[@]}"; do
        bench connect "trust, $count" "$1" "$who" 1 -C -f "$scratch/one.sql" -c "$count" -j "$(threads_for "$count")"
    done; done
}
round_scram() {
    local who
    for who in "${list[@]}"; do
        PGUSER=bench_scram PGPASSWORD=bench bench connect "SCRAM, 8" "$1" "$who" 1 -C -f "$scratch/one.sql" -c 8 -j "$(threads_for 8)"
    done
}
round_copy() {
    local who
    for who in "${list[@]}"; do bulk copy "out" "$1" "$who" psql -p "${port[$who]}" -qc "copy wide to stdout" -o /dev/null; done
    for who in "${list[@]}"; do
        prepare="truncate wide_in" bulk copy "in" "$1" "$who" psql -p "${port[$who]}" -qc "\\copy wide_in from '$scratch/wide.copy'"
    done
}
# TLS ends in PgBouncer and in pgkeep; the relay and HAProxy pass the server's through.
round_tls() {
    local who
    ping tlsping "$1" simple "${tls_list[@]}"
    for who in "${tls_list[@]}"; do bench tls "simple, 8" "$1" "$who" 1 -S -M simple -c 8 -j "$(threads_for 8)"; done
    if [ -z "$quick" ]; then
        for who in "${tls_list[@]}"; do bench tls "new connection, 1" "$1" "$who" 1 -C -f "$scratch/one.sql" -c 1; done
    fi
    for who in "${tls_list[@]}"; do
        bulk tlscopy "out" "$1" "$who" psql -p "${port[$who]}" -qc "copy wide to stdout" -o /dev/null
    done
}
round_loops() {
    local who
    for who in pgkeep-1 pgkeep-2; do
        bench loops "simple, 32" "$1" "$who" 1 -S -M simple -c 32 -j "$processors"
        bench loops "pipeline, 8" "$1" "$who" 50 -M extended -f "$scratch/pipe.sql" -c 8 -j "$processors"
    done
}

tls_list=()
for who in "${list[@]}"; do
    if [ "$who" = pgkeep ] && ! has_setting client_tls.cert_file; then
        not_offered "TLS towards clients"
    elif [ -z "$quick" ] || [[ $who != relay && $who != haproxy ]]; then # where it does not end anyway
        tls_list+=("$who")
    fi
done
if has ping || has query || has pipe || has copy || has connect; then
    for who in "${list[@]}"; do start "$who" "$server" plain; done
    for who in "${list[@]}"; do
        pgbench -n -S -p "${port[$who]}" -c 8 -j 2 -T 1 >/dev/null 2>&1 || die "warming up $who"
    done
    ! has ping || each_round ping round_ping
    ! has query || each_round query round_query
    ! has pipe || each_round pipe round_pipe
    ! has copy || each_round copy round_copy
    if has connect; then
        each_round connect round_connect
        if is_in pgbouncer; then end "${pid[pgbouncer]}" && start pgbouncer "$server" scram; fi
        each_round "connect with SCRAM" round_scram
    fi
    end_all
fi

if has tls; then
    for who in "${tls_list[@]}"; do start "$who" "$server" tls; done
    export PGSSLMODE=require
    each_round TLS round_tls
    export PGSSLMODE=disable
    end_all
fi

if has loops && is_in pgkeep; then
    if has_setting proxy.threads; then
        loops=1 start pgkeep-1 "$server" plain
        loops=2 start pgkeep-2 "$server" plain
        each_round loops round_loops
        end_all
    else
        not_offered "several event loops"
    fi
fi

# hold CASE NAME COUNT: memory of so many connections that ran one query each.
hold() {
    local cell=$1 who=$2 count=$3 share0 share1 line out in holder
    read -r _ share0 < <("$tools/bench_meter" memory "${pid[$who]}")
    coproc HOLD { exec "$tools/bench_ping" hold "port=${port[$who]}" "$count" 1; }
    holder=$HOLD_PID out=${HOLD[0]} in=${HOLD[1]}
    read -r -t 300 line <&"$out" || die "$count connections through $who"
    sleep 1
    read -r _ share1 < <("$tools/bench_meter" memory "${pid[$who]}")
    emit idle "$cell, $count" 1 "$who" rate="$(calc "($share1 - $share0) / $count")" opened="${line##* }"
    eval "exec $in>&-" # it ends when its stdin does
    wait "$holder" 2>/dev/null
}
# idle MODE NAME COUNT
idle() {
    note "idle, $1: $3 connections through $2"
    pool=$most_sessions start "$2" "$stand_in" "$1"
    [ "$1" = plain ] || export PGSSLMODE=require
    hold "$1" "$2" "$3"
    export PGSSLMODE=disable
    end_all
}
if has idle; then
    stand_in=$(free_port)
    spawn "$scratch/stand-in.log" "$tools/bench_stand_in" "$stand_in" && stand_in_pid=$spawned
    wait_port "$stand_in" "$stand_in_pid" || die "the stand-in server does not listen"
    for count in $idle_counts; do
        if [ "$count" -gt "$most_sessions" ]; then
            note "$most_sessions connections instead of $count: ulimit -n is $(ulimit -n)"
            count=$most_sessions
        fi
        for who in "${list[@]}"; do [ "$who" = direct ] || idle plain "$who" "$count"; done
        for who in "${tls_list[@]}"; do # only where it ends in the proxy
            case $who in pgbouncer | pgkeep) idle tls "$who" "$count" ;; esac
        done
    done
    end "$stand_in_pid"
fi

if has micro; then
    note "micro"
    while IFS=$'\t' read -r ns what; do
        emit micro "$what" 1 pgkeep rate="$ns"
    done < <("$tools/bench_micro" 0.5)
fi

python3 "$bench_root/bench/tables.py" "$results" | tee "$results/tables.md"
note "raw samples: $results/raw.tsv"
