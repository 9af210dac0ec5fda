#!/usr/bin/env bash
# Installs what the tests need (Debian, as root) and runs them. CI runs this and nothing else.
#   tests/run.sh            everything
#   tests/run.sh --quick    no installation, no lints: the tests alone
set -euo pipefail
cd "$(dirname "$0")/.."

# The peers that the tests talk to, and the tools that they are checked with.
packages=(bind9-dnsutils curl dnsmasq-base dovecot-core dovecot-imapd dovecot-pop3d gnutls-bin
    iproute2 isync libgnutls-dane0 libidn12 libnet-ssleay-perl libnsl2 mandoc msmtp ncat
    netcat-openbsd nsd openssh-server openssl postfix procps python3 socat strace swaks tmux
    util-linux valgrind zsh)
# Mail programs and libraries, for tests/clients.rs and tests/libraries.rs. Java takes most of the
# room, 260 MB: its compiler is what runs a program from its source.
packages+=(fetchmail getmail6 imapfilter libauthen-sasl-perl libio-socket-ssl-perl
    libjakarta-mail-java libmail-imapclient-perl mutt node-nodemailer nodejs offlineimap3
    openjdk-17-jdk-headless python3-aiosmtplib ruby s-nail)

missing() {
    local package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf '%s\n' "$package"
    done
}

install() {
    local wanted
    mapfile -t wanted < <(missing)
    [ ${#wanted[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "tests/run.sh: not installed here, so their tests are skipped: ${wanted[*]}" >&2
        return
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # Postfix wants no site of its own: the tests bring their configuration.
    echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
    apt-get install -q -y --no-install-recommends "${wanted[@]}"
}

# Exim would put Postfix out of the system, so only its program is taken out of its package. It
# asks for the user that it was built with.
unpack_exim() {
    command -v exim4 >/dev/null && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "tests/run.sh: exim4 is not here, so its tests are skipped" >&2
        return
    fi
    local dir
    dir=$(mktemp -d)
    apt-get update -q
    (cd "$dir" && apt-get -o APT::Sandbox::User=root download -q exim4-daemon-light)
    dpkg-deb -x "$dir"/exim4-daemon-light_*.deb "$dir/files"
    id -u Debian-exim >/dev/null 2>&1 || useradd --system --no-create-home Debian-exim
    command install -m 755 "$dir/files/usr/sbin/exim4" /usr/local/sbin/exim4
    rm -rf "$dir"
}

if [ "${1:-}" != --quick ]; then
    install
    unpack_exim
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items -q
fi
# A parent that ignores signals (nohup) would make our tests of signals wait for ever.
env --default-signal cargo test --no-fail-fast
