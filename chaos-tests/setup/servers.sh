#!/usr/bin/env bash
# Brings what the chaos tests break: redis-server from the system's packages, and Valkey 8 for the newer rule
# of WAIT. Does nothing where they are. Says what else a machine could have, and what is left out without it.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'setup: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

# The tests start servers of their own; the package's daemon stays off. A machine that has a policy for its
# daemons keeps it.
install_redis() {
    local policy=/usr/sbin/policy-rc.d ours=
    command -v apt-get >/dev/null || return 1
    as_root true || return 1
    if [ ! -e $policy ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod +x $policy
    fi
    as_root apt-get update -qq || true
    local code=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends redis-server || code=$?
    if [ -n "$ours" ]; then as_root rm -f $policy; fi
    return $code
}

if ! command -v redis-server >/dev/null; then
    if ! install_redis; then
        say "redis-server is missing and cannot be installed by this user; as root: apt-get install redis-server"
        exit 1
    fi
fi
say "$(redis-server --version | cut -d' ' -f1-3)"

# Valkey comes unpacked into target/, beside the system's packages and not among them. Its libraries are those
# of redis-server. The package lists are private too, so nothing of this needs root.
version='8.0.1+dfsg1-1~bpo12+1'
sums='986d97e75766d9b18c56159dd904337ec0a1222977235cad7ba56ddc4fd856eb  valkey-server_8.0.1+dfsg1-1~bpo12+1_amd64.deb
d2c2ea67642fa9571a07138b80ae52ebe566311c952aef25a39c1d5050697853  valkey-tools_8.0.1+dfsg1-1~bpo12+1_amd64.deb'
valkey=target/servers/valkey

fetch_valkey() {
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || return 1
    local apt=$PWD/target/servers/apt mirror
    # From where this machine has the packages of its own release.
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | awk '$2 == "bookworm" { print $1; exit }')
    [ -n "$mirror" ] || return 1
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts" "$apt/unpacked"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" >"$apt/sources"
    cat >"$apt/conf" <<CONF
Dir::Etc::sourcelist "$apt/sources";
Dir::Etc::sourceparts "$apt/parts";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "";
CONF
    (
        export APT_CONFIG=$apt/conf
        cd "$apt"
        apt-get update -qq && apt-get download -qq "valkey-server=$version" "valkey-tools=$version" &&
            printf '%s\n' "$sums" | sha256sum --check --quiet || exit 1
        for package in *.deb; do dpkg-deb -x "$package" unpacked; done
    ) || return 1
    "$apt/unpacked/usr/bin/valkey-server" --version >/dev/null || return 1
    rm -rf $valkey
    mv "$apt/unpacked" $valkey
    rm -rf "$apt"
}

if [ ! -x $valkey/usr/bin/valkey-server ] && ! command -v valkey-server >/dev/null; then
    fetch_valkey || say "Valkey $version cannot be had here; what holds from Redis 7.2 on stays untested"
fi
if [ -x $valkey/usr/bin/valkey-server ]; then say "$($valkey/usr/bin/valkey-server --version | cut -d' ' -f1-3)"; fi

if [ "$(id -u)" = 0 ] && command -v nsenter >/dev/null && command -v iptables >/dev/null &&
    [ -S /var/run/docker.sock ]; then
    say "a container engine is here"
else
    say "containers need root, nsenter, iptables and a Docker engine (apt-get install docker.io iptables);" \
        "without them, tests that cut network paths are left out"
fi
