#!/bin/sh
# How is a p2p-node? For hosts that have curl and awk but not the program itself;
# where that is installed, `p2p-node diag` says more.

usage() {
    cat <<'TEXT'
Usage: p2p-node-diagnose.sh [-h] [URL]

Reads /metrics and /health of a p2p-node at URL (http://localhost:9100 when not
given) and says how it is. The figures are of the time since its start.

Exit codes: 0 no problem, 1 a problem, 2 wrong usage, 69 nobody answers.
TEXT
}

while getopts h option; do
    case $option in
    h)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -gt 1 ]; then
    usage >&2
    exit 2
fi
for tool in curl awk; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "p2p-node-diagnose.sh: $tool is missing; install it" >&2
        exit 1
    fi
done

node=${1:-http://localhost:9100}
node=${node%/}
bad=0

# ask PATH: the body, of an answer of any status; fails when nobody answers.
ask() {
    curl --silent --show-error --max-time 10 -- "$node$1" 2>&1
}

# status PATH: the HTTP status; 000 when nobody answers.
status() {
    curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' -- "$node$1" 2>/dev/null
}

say() { printf '%-8s %-13s %s\n' "$1" "$2" "$3"; }
advise() { printf '%-8s %-13s do: %s\n' '' '' "$1"; }

# judge VERDICT CHECK FINDING ADVICE
judge() {
    say "$1" "$2" "$3"
    if [ -n "$4" ]; then advise "$4"; fi
    if [ "$1" = problem ]; then bad=1; fi
}

echo "p2p-node at $node"

metrics=$(ask /metrics) || {
    judge problem connectivity "nobody answers: $(printf '%s' "$metrics" | head -n 1)" \
        "see that it runs (systemctl status p2p-node), and that P2P_METRICS_HOST lets this host in"
    exit 69
}

# sum NAME [LABEL="VALUE"]: all series of that name added up; nothing when there is
# none. Values may be as large as a memory and are printed whole.
sum() {
    printf '%s\n' "$metrics" | awk -v name="$1" -v label="${2:-}" '
        /^#/ { next }
        {
            at = index($0, "{")
            id = at ? substr($0, 1, at - 1) : $1
            if (id == name && (label == "" || index($0, label))) { sum += $NF; seen = 1 }
        }
        END { if (seen) printf "%.0f\n", sum }'
}

# p99 NAME [PATTERN [WITHOUT]]: the 99th percentile of a histogram in seconds and the
# number of observations, over all series whose labels match PATTERN and not WITHOUT,
# computed from the buckets as Prometheus does; nothing when nothing was observed.
p99() {
    printf '%s\n' "$metrics" | awk -v name="$1_bucket{" -v pattern="${2:-}" -v without="${3:-}" '
        index($0, name) == 1 && (pattern == "" || $0 ~ pattern) && (without == "" || $0 !~ without) {
            le = $0
            sub(/.*le="/, "", le)
            sub(/".*/, "", le)
            if (le == "+Inf") { total += $NF; next }
            if (!(le in count)) bounds[++n] = le
            count[le] += $NF
        }
        END {
            if (!total || !n) exit
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && bounds[j - 1] + 0 > bounds[j] + 0; j--) {
                    t = bounds[j]; bounds[j] = bounds[j - 1]; bounds[j - 1] = t
                }
            rank = 0.99 * total
            value = bounds[n] + 0
            for (i = 1; i <= n; i++)
                if (count[bounds[i]] >= rank) {
                    low = i > 1 ? bounds[i - 1] + 0 : 0
                    below = i > 1 ? count[bounds[i - 1]] : 0
                    value = low + (bounds[i] - low) * (rank - below) / (count[bounds[i]] - below)
                    break
                }
            printf "%.6g %.0f\n", value, total
        }'
}

# above A B: whether A > B, of numbers that a shell cannot compare.
above() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 > b + 0) }'; }

# percent USED ALLOWED
percent() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.0f\n", (b + 0 > 0 ? 100 * a / b : 0) }'; }

mib() { awk -v bytes="$1" 'BEGIN { printf "%.0f MiB\n", bytes / 1048576 }'; }

# limit CHECK USED ALLOWED WHAT PROBLEM-OR-WARNING ADVICE: little is left above 80%.
limit() {
    if [ -z "$2" ]; then
        say note "$1" "not told by this node"
    elif [ -z "$3" ] || [ "$3" = 0 ]; then
        say ok "$1" "$2 $4; no limit is told"
    elif above "$2" "$(awk -v n="$3" 'BEGIN { printf "%.6f", 0.8 * n }')"; then
        judge "$5" "$1" "$2 of $3 $4 ($(percent "$2" "$3")%)" "$6"
    else
        say ok "$1" "$2 of $3 $4 ($(percent "$2" "$3")%)"
    fi
}

if [ -z "$(sum libp2p_connections_active)" ]; then
    judge problem connectivity "something answers that is no p2p-node" \
        "name its address; node_exporter has the same default port"
    exit 1
fi
say ok connectivity "/metrics answers"

live=$(status /health/live)
if [ "$live" = 200 ]; then
    say ok live "the event loop turns"
else
    judge problem live "the event loop does not turn (HTTP $live)" \
        "restart it: systemctl restart p2p-node; keep the journal for a bug report"
fi
ready=$(status /health/ready)
if [ "$ready" = 200 ]; then
    say ok ready "it serves"
else
    judge problem ready "not ready (HTTP $ready): $(ask /health/ready | head -n 1)" \
        "wait while it starts or drains; else read its log: journalctl -u p2p-node"
fi

limit connections "$(sum libp2p_connections_active)" "$(sum p2p_connections_limit)" \
    "connections are open" warning "raise P2P_MAX_CONNECTIONS"

# Nobody waits for a refresh of the routing table, and it rightly asks peers that have
# gone: the alert rules leave it out too.
dht=$(p99 libp2p_dht_query_duration_seconds '' 'kind="refresh"')
if [ -z "$dht" ]; then
    say ok dht "no query yet"
elif above "${dht% *}" 5; then
    judge problem dht "P99 of ${dht#* } queries is ${dht% *} s" \
        "set 3 to 5 stable P2P_BOOTSTRAP_PEERS"
elif above "${dht% *}" 2; then
    judge warning dht "P99 of ${dht#* } queries is ${dht% *} s" \
        "set 3 to 5 stable P2P_BOOTSTRAP_PEERS"
else
    say ok dht "P99 of ${dht#* } queries is ${dht% *} s"
fi

slow=$(p99 p2p_message_processing_seconds 'protocol="(gossip|dht)"')
if [ -z "$slow" ]; then
    say ok latency "no message yet"
elif above "${slow% *}" 1; then
    judge warning latency "P99 of processing ${slow#* } messages is ${slow% *} s" \
        "see the load of this host and its disk; lower P2P_RATE_FILL"
else
    say ok latency "P99 of processing ${slow#* } messages is ${slow% *} s"
fi

resident=$(sum process_resident_memory_bytes)
allowed=$(sum p2p_memory_limit_bytes)
if [ -z "$resident" ]; then
    say note memory "not told by this node"
elif [ -z "$allowed" ] || [ "$allowed" = 0 ]; then
    say ok memory "$(mib "$resident") resident; no limit is told"
elif [ "$(percent "$resident" "$allowed")" -gt 80 ]; then
    judge problem memory "$(mib "$resident") of $(mib "$allowed") resident" \
        "lower P2P_MAX_CONNECTIONS or P2P_CONNECTION_IDLE_TIMEOUT, or raise P2P_MAX_MEMORY"
else
    say ok memory "$(mib "$resident") of $(mib "$allowed") resident"
fi

failures=$(sum p2p_peer_dial_failures_total)
started=$(sum process_start_time_seconds)
if [ -n "$failures" ] && [ -n "$started" ]; then
    minutes=$(awk -v now="$(date +%s)" -v then="$started" \
        'BEGIN { m = (now - then) / 60; printf "%.2f", (m < 1 ? 1 : m) }')
    rate=$(awk -v n="$failures" -v m="$minutes" 'BEGIN { printf "%.1f", n / m }')
    if above "$rate" 10; then
        judge warning dials "$failures dials failed, $rate a minute" \
            "see that this host's way out is open, and that P2P_BOOTSTRAP_PEERS are right"
    else
        say ok dials "$failures dials failed, $rate a minute"
    fi
else
    say note dials "${failures:-?} dials failed"
fi

mesh=$(sum libp2p_gossipsub_peers)
topics=$(sum p2p_topics)
if [ "${topics:-1}" = 0 ]; then
    say ok gossip "no topic joined"
elif [ "${mesh:-0}" -lt 6 ]; then
    judge note gossip "${mesh:-0} peers in the meshes" \
        "fewer than 6: connect to more peers of the topics, and set P2P_GOSSIP_D to 6 to 8"
else
    say ok gossip "$mesh peers in the meshes"
fi

nat=
for method in autonat relay dcutr; do
    ok=$(printf '%s\n' "$metrics" |
        awk -v m="method=\"$method\"" '/^libp2p_nat_traversal_attempts_total[{]/ && index($0, m) && /result="ok"/ { print $NF }')
    failed=$(printf '%s\n' "$metrics" |
        awk -v m="method=\"$method\"" '/^libp2p_nat_traversal_attempts_total[{]/ && index($0, m) && /result="failed"/ { print $NF }')
    nat="$nat${nat:+, }$method ${ok:-0} ok and ${failed:-0} failed"
    case $method in
    autonat) autonat_ok=${ok:-0} autonat_failed=${failed:-0} ;;
    relay) relay_ok=${ok:-0} ;;
    esac
done
if [ "$autonat_ok" = 0 ] && [ "$autonat_failed" != 0 ] && [ "$relay_ok" = 0 ]; then
    judge warning nat "nobody reaches it from outside ($nat)" \
        "forward its port and set P2P_EXTERNAL_ADDRS, or set P2P_RELAYS"
else
    say ok nat "$nat"
fi

limit descriptors "$(sum process_open_fds)" "$(sum process_max_fds)" "are open" problem \
    "raise LimitNOFILE= of the unit, or lower P2P_MAX_CONNECTIONS"

exit "$bad"
