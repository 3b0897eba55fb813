#!/bin/sh
# Compares p2p-node's transports with libp2p's own on tokio: the same program, the
# same options, two processes on loopback, interleaved so that a noisy machine
# disturbs both alike. Prints Markdown tables of medians.
#
#   benches/run.sh [ROUNDS] [BYTES] [TRANSPORT...]
#
# Defaults: 5 rounds of 1 GiB over tcp-tls, tcp-noise and quic.
set -eu

rounds=${1:-5}
bytes=${2:-1073741824}
[ $# -gt 2 ] && shift 2 || set -- tcp-tls tcp-noise quic
transports=$*

cd "$(dirname "$0")/twin"
cargo build --release --quiet
twin=target/release/twin
results=$(mktemp)
trap 'rm -f "$results"' EXIT

measure() { # KIND STACK TRANSPORT WORK...
    kind=$1 stack=$2 transport=$3
    shift 3
    if line=$("$twin" --stack="$stack" --transport="$transport" run "$@"); then
        echo "$kind $transport $stack $line" >>"$results"
    else
        echo "failed: $kind $transport $stack" >&2
    fi
}

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    echo "round $round of $rounds" >&2
    measure transfer plain tcp-tls transfer "$bytes"
    for transport in $transports; do
        for stack in ours tokio; do
            measure transfer "$stack" "$transport" transfer "$bytes"
            measure handshakes "$stack" "$transport" handshakes 500
        done
    done
done
for transport in $transports; do
    for stack in ours tokio ours tokio ours tokio; do
        measure idle "$stack" "$transport" idle 1000
    done
done

# The median of FIELD, number N of its occurrences in a line, over all lines of a kind.
median() { # KIND TRANSPORT STACK FIELD N
    awk -v k="$1" -v t="$2" -v s="$3" -v f="$4=" -v n="$5" '
        $1 == k && $2 == t && $3 == s {
            seen = 0
            for (i = 4; i <= NF; i++)
                if (index($i, f) == 1 && ++seen == n) print substr($i, length(f) + 1)
        }' "$results" | sort -n | awk '{ v[NR] = $1 } END {
            if (NR == 0) print "-"
            else if (NR % 2) print v[(NR + 1) / 2]
            else printf "%.1f\n", (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a + 0 && b + 0) printf "%.2f", a / b; else print "-" }'; }

cpu=$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
echo "$(nproc) cores of $cpu, Linux $(uname -r), $(rustc --version | cut -d' ' -f1-2); load at the end $(cut -d' ' -f1 /proc/loadavg)."
echo "\`benches/run.sh $rounds $bytes $transports\`, medians."
echo
echo "| one stream of $((bytes / 1048576)) MiB | MB/s | tokio twin | ratio | CPU s, sender + receiver | tokio twin |"
echo "|---|---|---|---|---|---|"
for transport in $transports; do
    ours=$(median transfer "$transport" ours MB/s 1)
    theirs=$(median transfer "$transport" tokio MB/s 1)
    echo "| $transport | $ours | $theirs | $(ratio "$ours" "$theirs") |" \
        "$(median transfer "$transport" ours cpu_s 1) + $(median transfer "$transport" ours cpu_s 2) |" \
        "$(median transfer "$transport" tokio cpu_s 1) + $(median transfer "$transport" tokio cpu_s 2) |"
done
echo "| plain TCP copy | $(median transfer tcp-tls plain MB/s 1) | | |" \
    "$(median transfer tcp-tls plain cpu_s 1) + $(median transfer tcp-tls plain cpu_s 2) | |"
echo
echo "| connections | handshakes/s | tokio twin | ratio | 1,000 idle: KiB resident | tokio twin | ratio |"
echo "|---|---|---|---|---|---|---|"
for transport in $transports; do
    ours=$(median handshakes "$transport" ours handshakes/s 1)
    theirs=$(median handshakes "$transport" tokio handshakes/s 1)
    our_memory=$(median idle "$transport" ours rss_kib 1)
    their_memory=$(median idle "$transport" tokio rss_kib 1)
    echo "| $transport | $ours | $theirs | $(ratio "$ours" "$theirs") |" \
        "$our_memory | $their_memory | $(ratio "$our_memory" "$their_memory") |"
done
