#!/usr/bin/env bash
# pgkeep beside PostgreSQL alone, a bare copy loop, PgBouncer and HAProxy: latency, throughput, CPU, new
# connections, COPY, TLS, memory of idle connections. Contenders take turns within each round, and a ratio is
# the median of the ratios within a round, so that a drift of the machine's speed cancels out.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END'
usage: bench/proxy.sh [options]

  --quick            3 rounds of 2 seconds, fewer cases: some minutes
  --rounds N         (10)          --seconds N   of one sample (5)
  --suites LIST      ping,query,pipe,connect,copy,tls,idle,loops (all of them)
  --contenders LIST  direct,relay,pgbouncer,haproxy,pgkeep (all of them)
  --binary FILE      the pgkeep to measure (build/release/pgkeep, which is built)
  --quiet PERCENT    wait before each sample until other processes take less of the machine than
                     this, and take it again, at most six times, if they took more (100: never)
  --results DIR      raw.tsv, tables.md

Needs Debian's postgresql-15 libpq-dev pgbouncer haproxy openssl, besides what a build needs. As root the
servers run as the user postgres (RUN_AS). TMPDIR on a memory file system keeps disks out of it.
END
}

rounds=10 seconds=5 suites=ping,query,pipe,connect,copy,tls,idle,loops quiet_at=100
contenders=direct,relay,pgbouncer,haproxy,pgkeep
client_counts="1 8 32" protocols="simple extended prepared" idle_counts="1000 5000" binary='' results=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) rounds=3 seconds=2 client_counts="1 8" protocols="simple prepared" idle_counts=1000 && shift ;;
    --help | -h) usage && exit 0 ;;
    --rounds | --seconds | --suites | --contenders | --binary | --results)
        [ $# -ge 2 ] || die "$1 needs a value"
        printf -v "${1#--}" %s "$2" && shift 2 ;;
    --quiet) quiet_at=$2 && shift 2 ;;
    *) usage >&2 && exit 2 ;;
    esac
done
has() { [[ ,$suites, == *,$1,* ]]; }
is_in() { [[ ,$contenders, == *,$1,* ]]; }
need "$PGBIN/pgbench" postgresql-15
need pg_config libpq-dev
! is_in pgbouncer || need pgbouncer pgbouncer
! is_in haproxy || need haproxy haproxy
make_scratch
results=${results:-$(mktemp -d "${TMPDIR:-/tmp}/pgkeep-results.XXXXXXXX")}
mkdir -p "$results" && : >"$results/raw.tsv"
build_tools
processors=$(nproc)

# --- contenders -------------------------------------------------------------------------------------

declare -A port=() pid=()
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
max_client_conn = 9000
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
    maxconn 9000
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
start_pgkeep() { # one loop, as everybody else has one thread
    local more=(--set proxy.threads="${loops:-1}" --set log.level=error)
    [ "$3" != tls ] || more+=(--set client_tls.cert_file="$scratch/tls.crt" --set client_tls.key_file="$scratch/tls.key")
    spawn "$scratch/pgkeep.$1.log" "$scratch/pgkeep" serve --listen "127.0.0.1:$1" --backend "127.0.0.1:$2" \
        --service "host=127.0.0.1 port=$server user=bench dbname=bench" --state "$scratch/state.$1" "${more[@]}"
}

# start NAME BACKEND MODE (plain, scram, tls)
start() {
    if [ "$1" = direct ]; then
        port[direct]=$2 pid[direct]=0
        return
    fi
    port[$1]=$(free_port)
    "start_${1%%-*}" "${port[$1]}" "$2" "$3"
    pid[$1]=$spawned
    wait_port "${port[$1]}"
}
end_all() {
    local who
    for who in "${!pid[@]}"; do [ "${pid[$who]}" = 0 ] || end "${pid[$who]}"; done
    port=() pid=()
}
read -ra list <<<"${contenders//,/ }"

# --- samples ----------------------------------------------------------------------------------------

# sample NAME COMMAND..: one run of a client. Sets wall, client_cpu, proxy_cpu, server_cpu (seconds), foreign (percent
# of the machine); what the client said is in $scratch/out.
sample() {
    local who=$1 _ busy0 busy1 proxy0 server0 user system
    shift
    for _ in 1 2 3 4 5 6; do
        quiet "$quiet_at"
        [ -z "${prepare:-}" ] || psql -qc "$prepare" || return 1
        proxy0=$(cpu_of "${pid[$who]}") server0=$(cpu_of "$server_pid")
        read -r busy0 _ < <("$tools/bench_meter" busy)
        "$tools/bench_meter" run "$scratch/run" "$@" >"$scratch/out" 2>"$scratch/err" || { cat "$scratch/err" >&2 && return 1; }
        read -r busy1 _ < <("$tools/bench_meter" busy)
        sleep 0.05
        read -r wall user system <"$scratch/run"
        client_cpu=$(calc "$user + $system")
        proxy_cpu=$(calc "$(cpu_of "${pid[$who]}") - $proxy0") server_cpu=$(calc "$(cpu_of "$server_pid") - $server0")
        foreign=$(calc "100 * ($busy1 - $busy0 - $proxy_cpu - $server_cpu - $client_cpu) / ($wall * $processors)")
        [ "$(calc "$foreign <= $quiet_at")" = 1 ] && return 0
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
    quiet "$quiet_at"
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

each_round() { # NAME FUNCTION
    local round
    for round in $(seq "$rounds"); do
        note "$1, round $round of $rounds"
        "$2" "$round"
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
if has copy || has tls; then
    psql -qv ON_ERROR_STOP=1 -c "create unlogged table wide as select g as id, repeat(md5(g::text), 31) as pad
        from generate_series(1, 1000000) g" -c "create unlogged table wide_in (like wide)" || die "table"
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
    psql --version && openssl version
    ! is_in pgbouncer || pgbouncer --version | head -n 1
    ! is_in haproxy || haproxy -v | head -n 1
    "$scratch/pgkeep" --version
    echo "$rounds rounds, samples of $seconds s"
} >"$results/machine.txt"

# --- suites -----------------------------------------------------------------------------------------

round_ping() { ping ping "$1" simple "${list[@]}" && ping ping "$1" prepared "${list[@]}"; }
round_query() {
    local protocol count who
    for protocol in $protocols; do for count in $client_counts; do for who in "${list[@]}"; do
        bench query "$protocol, $count" "$1" "$who" 1 -S -M "$protocol" -c "$count" -j "$(threads_for "$count")"
    done; done; done
}
round_pipe() {
    local count who
    for count in 1 8; do for who in "${list[@]}"; do
        bench pipe "50 in a pipeline, $count" "$1" "$who" 50 -M extended -f "$scratch/pipe.sql" -c "$count" -j "$(threads_for "$count")"
    done; done
}
round_connect() {
    local count who
    for count in 1 8; do for who in "${list[@]}"; do
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
round_tls() {
    local who
    ping tlsping "$1" simple "${list[@]}"
    for who in "${list[@]}"; do bench tls "simple, 8" "$1" "$who" 1 -S -M simple -c 8 -j "$(threads_for 8)"; done
    for who in "${list[@]}"; do bench tls "new connection, 1" "$1" "$who" 1 -C -f "$scratch/one.sql" -c 1; done
    for who in "${list[@]}"; do bulk tlscopy "out" "$1" "$who" psql -p "${port[$who]}" -qc "copy wide to stdout" -o /dev/null; done
}
round_loops() {
    local who
    for who in pgkeep-1 pgkeep-2; do
        bench loops "simple, 32" "$1" "$who" 1 -S -M simple -c 32 -j "$processors"
        bench loops "pipeline, 8" "$1" "$who" 50 -M extended -f "$scratch/pipe.sql" -c 8 -j "$processors"
    done
}

if has ping || has query || has pipe || has copy || has connect; then
    for who in "${list[@]}"; do start "$who" "$server" plain; done
    for who in "${list[@]}"; do pgbench -n -S -p "${port[$who]}" -c 8 -j 2 -T 1 >/dev/null 2>&1 || die "warming up $who"; done
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
    for who in "${list[@]}"; do start "$who" "$server" tls; done
    export PGSSLMODE=require
    each_round TLS round_tls
    export PGSSLMODE=disable
    end_all
fi
if has loops && is_in pgkeep; then
    loops=1 start pgkeep-1 "$server" plain
    loops=2 start pgkeep-2 "$server" plain
    each_round loops round_loops
    end_all
fi

# hold CASE NAME COUNT: memory of so many connections that ran one query each
hold() {
    local cell=$1 who=$2 count=$3 share0 share1 line out in holder
    read -r _ _ share0 < <("$tools/bench_meter" cpu -p "${pid[$who]}")
    coproc HOLD { exec "$tools/bench_ping" hold "port=${port[$who]}" "$count" 1; }
    holder=$HOLD_PID out=${HOLD[0]} in=${HOLD[1]}
    read -r -t 300 line <&"$out" || die "$count connections through $who"
    sleep 1
    read -r _ _ share1 < <("$tools/bench_meter" cpu -p "${pid[$who]}")
    emit idle "$cell, $count" 1 "$who" rate="$(calc "($share1 - $share0) / $count")" opened="${line##* }"
    eval "exec $in>&-"
    wait "$holder" 2>/dev/null
}
if has idle; then
    stand_in=$(free_port)
    spawn "$scratch/stand-in.log" "$tools/bench_stand_in" "$stand_in" && stand_in_pid=$spawned
    wait_port "$stand_in"
    for count in $idle_counts; do
        for who in "${list[@]}"; do
            [ "$who" != direct ] || continue
            note "idle, $count connections through $who"
            pool=8000 start "$who" "$stand_in" plain
            hold "plain" "$who" "$count"
            end_all
        done
        for who in pgbouncer pgkeep; do
            is_in "$who" || continue
            note "idle with TLS, $count connections through $who"
            pool=8000 start "$who" "$stand_in" tls
            PGSSLMODE=require hold "TLS" "$who" "$count"
            end_all
        done
    done
    end "$stand_in_pid"
fi

python3 "$bench_root/bench/tables.py" "$results" | tee "$results/tables.md"
note "raw samples: $results/raw.tsv"
