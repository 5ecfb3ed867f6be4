#!/bin/sh
# Take the laboratory away as soon as whoever built it lets go of it or is gone, however it went.
# usage: keeper.sh NAMESPACE DIRECTORY, with standard input held open for as long as the laboratory shall live
trap '' HUP INT TERM
namespace=$1
directory=$2

cat >/dev/null

# What runs in the namespace was started in it, and starts nothing outside.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    pids=$(ip netns pids "$namespace" 2>/dev/null)
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # one word a process
    kill -KILL $pids 2>/dev/null
    sleep 0.02
done
[ ! -e "/run/netns/$namespace" ] || ip netns delete "$namespace"
rm -rf "/etc/netns/$namespace" "$directory" /dev/shm/"$namespace"*  # Squid's shared memory
