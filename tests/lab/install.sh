#!/bin/sh
# Install the Debian packages of packages.txt, or of the list given, that are missing, and start none of their services.
# Where it cannot (not root, no apt) it says so and succeeds: the laboratory's tests are then skipped, with the reason.
set -eu

wanted=$(sed 's/#.*//' "${1:-$(dirname "$0")/packages.txt}")
policy=/usr/sbin/policy-rc.d

missing=
for package in $wanted; do
    state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done

if [ -z "$missing" ]; then
    echo "laboratory: every Debian package is installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "laboratory: not installed, for there is no apt-get here:$missing"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "laboratory: not installed, for that needs root:$missing"
    exit 0
fi

# Debian starts a service when it installs it, unless this file forbids that. One that is there already is the machine's own,
# or what is left of an installation that was killed: it forbids nothing once that process has gone, and is replaced.
ours='# for as long as the laboratory is installed'
if [ ! -e "$policy" ] || grep -q "^$ours" "$policy"; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n%s\nkill -0 %d 2>/dev/null && exit 101\nexit 0\n' "$ours" $$ >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt() {
    apt-get --quiet --yes -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

apt update
# --no-remove: rather fail than take a package from the machine (squid gives way to squid-openssl, for one).
# shellcheck disable=SC2086 # one word a package
apt install --no-install-recommends --no-remove $missing
echo "laboratory: installed$missing"
