#!/bin/bash
# A private Postfix (with a private Dovecot for SASL) as a peer for tests.
#
#   postfix.sh start DIR    DIR is an empty directory; returns when ready
#   postfix.sh stop DIR     ends every process that start left running
#
# After start, DIR holds:
#   ports      shell lines plain=, starttls=, smtps=, submission=, proxied=
#              (127.0.0.1)
#   cert.pem   the self-signed certificate of all TLS services (mail.test)
#   mail/      Maildirs ann/ and bob/ of the users at example.test
#   log        Postfix's log; dovecot.log is Dovecot's
#
# plain offers no TLS, starttls offers STARTTLS, smtps is TLS from the first
# byte, proxied wants a PROXY header first and takes XCLIENT, submission wants
# STARTTLS and then AUTH (ann:secret, "bob:pass word").
#
# Needs root (Postfix's master does), postfix, dovecot and openssl.
set -eu
umask 022
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

say() { printf 'postfix.sh: %s\n' "$*" >&2; }

# die WHY: say why and show the logs. (The EXIT trap of start cleans up.)
die() {
    local log
    say "$*"
    for log in out log dovecot.log; do
        if [ -s "$dir/$log" ]; then
            say "tail of $log:"
            tail -n 20 "$dir/$log" >&2
        fi
    done
    exit 1
}

# poll SECONDS COMMAND...: try until COMMAND succeeds or the time is over.
poll() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# --- ports ----------------------------------------------------------------

# Is anybody listening there? (The subshell closes the connection.)
listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Ports are picked below Linux's ephemeral range, so that no outgoing
# connection of another test takes one in between.
pick_ports() {
    local port
    ports=()
    while [ "${#ports[@]}" -lt 5 ]; do
        port=$((10000 + RANDOM % 20000))
        case " ${ports[*]} " in *" $port "*) continue ;; esac
        listening "$port" || ports+=("$port")
    done
    plain=${ports[0]} starttls=${ports[1]} smtps=${ports[2]} submission=${ports[3]} proxied=${ports[4]}
}

# --- processes ------------------------------------------------------------

# find_ours: put the ids of our living processes into the array pids. Ours is
# what names our directory in its arguments, as both masters do, and what is
# in the process group of such a one, as their children are. (A pid file alone
# will not do: start may be interrupted before there is one.)
find_ours() {
    local proc pid line state group args
    pids=()
    for proc in /proc/[0-9]*; do
        pid=${proc#/proc/}
        # Processes may end while we look. Zombies do not count: in a
        # container nobody may reap them.
        read -r line 2>/dev/null <"$proc/stat" || continue
        read -r state _ group _ <<<"${line##*) }"
        [ "$state" != Z ] || continue
        args=()
        mapfile -d '' -t args 2>/dev/null <"$proc/cmdline" || continue
        case " ${args[*]}" in
            *" $run/"*)
                [ "$group" != "$pid" ] || groups[group]=1
                pids+=("$pid")
                ;;
            *) [ -z "${groups[group]:-}" ] || pids+=("$pid") ;;
        esac
    done
}

# Children whose master has died are known by its pid file only. If a process
# of that id lives, find_ours finds out whether it is our master or a stranger.
find_orphans() {
    local file pid
    for file in "$dir/queue/pid/master.pid" "$dir/dovecot/master.pid"; do
        [ -s "$file" ] || continue
        read -r pid <"$file" || true
        read -r -d '' _ 2>/dev/null <"/proc/$pid/cmdline" || groups[pid]=1
    done
}

stop_all() {
    local pids groups=() signal=TERM end=$((SECONDS + 6))
    [ -n "$run" ] || [ ! -s "$dir/run" ] || run=$(<"$dir/run")
    # Never started, or stopped already.
    [ -n "$run" ] || return 0
    find_orphans
    while find_ours && [ "${#pids[@]}" != 0 ]; do
        if [ "$SECONDS" -ge "$end" ]; then
            [ "$signal" = TERM ] || { say "these do not end: ${pids[*]}"; return 1; }
            signal=KILL end=$((SECONDS + 6))
        fi
        kill -"$signal" "${pids[@]}" 2>/dev/null || true
        sleep 0.02
    done
    rm -f "$run" "$dir/run"
    [ ! -d "${run%/*}" ] || rmdir "${run%/*}"
}

# --- configuration --------------------------------------------------------

make_cert() {
    # An own file, because the system's default would add CA:TRUE, which
    # some TLS libraries refuse in a server's certificate.
    cat >"$dir/etc/cert.cnf" <<END
[req]
prompt = no
distinguished_name = name
x509_extensions = ext
[name]
CN = mail.test
[ext]
subjectAltName = DNS:mail.test, DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
END
    openssl req -x509 -config "$dir/etc/cert.cnf" -days 3650 -nodes \
        -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -keyout "$dir/etc/key.pem" -out "$dir/cert.pem" >>"$dir/out" 2>&1 ||
        die "cannot make the certificate"
    : >"$dir/out"
}

make_dirs() {
    local d
    # postfix and nobody must get at their files below DIR (mktemp: 0700).
    chmod go+x "$dir"
    setpriv --reuid="$uid" --regid="$gid" --clear-groups test -x "$dir" ||
        die "$dir cannot be reached by unprivileged users: a parent directory is closed"

    # A short path without special characters to everything: sockets may
    # have 107 characters, and the configuration splits words at spaces.
    # (The link is not in /tmp itself, where following it may be restricted.)
    run=/tmp/pf.$$.$RANDOM/d
    printf '%s\n' "$run" >"$dir/run"
    mkdir -m 711 "${run%/*}"
    ln -s "$dir" "$run"

    mkdir -p "$dir"/{etc,data,dovecot,mail,queue}
    for d in active bounce corrupt defer deferred flush hold incoming private saved trace; do
        mkdir -m 700 "$dir/queue/$d"
        chown postfix "$dir/queue/$d"
    done
    mkdir -m 755 "$dir/queue/pid"
    mkdir -m 710 "$dir/queue/public"
    mkdir -m 1730 "$dir/queue/maildrop"
    chown postfix:postdrop "$dir/queue"/{public,maildrop}
    chown postfix "$dir/data"
    chmod 700 "$dir/data"

    # Made now, so that a test can look before the first message came.
    for d in ann bob; do
        mkdir -m 700 "$dir/mail/$d" "$dir/mail/$d"/{cur,new,tmp}
        chown -R "$uid:$gid" "$dir/mail/$d"
    done
}

# The value that this Postfix has built in for a parameter, if it knows it.
built_in() { postconf -c "$dir/etc" -dh "$1" 2>/dev/null; }

write_main_cf() {
    local forbid
    cat >"$dir/etc/main.cf" <<END
compatibility_level = 3.6
config_directory = $run/etc
meta_directory = $run/etc
queue_directory = $run/queue
data_directory = $run/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = $run/log
maillog_file_prefixes = $run

myhostname = mail.test
myorigin = example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# Nobody is trusted: our own clients come from loopback, too.
mynetworks =

# Mail for ann and bob, and nothing else; nothing ever leaves this host.
mydestination =
relay_domains =
alias_maps =
alias_database =
local_recipient_maps =
fast_flush_domains =
virtual_mailbox_domains = example.test
virtual_mailbox_base = $run/mail
virtual_mailbox_maps = inline:{{ann@example.test = ann/}, {bob@example.test = bob/}}
virtual_uid_maps = static:$uid
virtual_gid_maps = static:$gid
local_transport = error:5.1.2 no local delivery
relay_transport = error:5.1.2 no delivery to other domains
default_transport = error:5.1.2 no delivery to other domains
notify_classes =
biff = no

# No DNS.
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_peername_lookup = no

# Whoever does not wait for our replies is found out at every stage. Without
# delay_reject each stage answers for itself, not all of them at RCPT.
smtpd_delay_reject = no
smtpd_client_restrictions = reject_unauth_pipelining
smtpd_helo_restrictions = reject_unauth_pipelining
smtpd_sender_restrictions = reject_unauth_pipelining
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unauth_pipelining, reject_unauth_destination
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_end_of_data_restrictions = reject_unauth_pipelining
END
    # Not in every version, and an unknown parameter would be a warning.
    forbid=$(built_in smtpd_forbid_unauth_pipelining)
    [ -z "$forbid" ] || echo 'smtpd_forbid_unauth_pipelining = yes' >>"$dir/etc/main.cf"
    cat >>"$dir/etc/main.cf" <<END

# Tests make mistakes on purpose: do not slow them down for it.
smtpd_error_sleep_time = 0
smtpd_client_connection_count_limit = 0

smtpd_tls_security_level = none
smtpd_tls_cert_file = $run/cert.pem
smtpd_tls_key_file = $run/etc/key.pem
smtpd_tls_loglevel = 1
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
END
    # Postfix waits while its configuration is quite new, because somebody
    # might still be writing it. Nobody is.
    touch -d '1 minute ago' "$dir/etc/main.cf"
}

# The ports change from one attempt to the next, all else stays.
write_master_cf() {
    cat >"$dir/etc/master.cf" <<END
127.0.0.1:$plain inet n - n - - smtpd
127.0.0.1:$starttls inet n - n - - smtpd
  -o smtpd_tls_security_level=may
127.0.0.1:$proxied inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o smtpd_authorized_xclient_hosts=127.0.0.1,[::1]
127.0.0.1:$smtps inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_wrappermode=yes
127.0.0.1:$submission inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o { smtpd_sender_restrictions = reject_unauth_pipelining, permit_sasl_authenticated,
       check_sender_access static:{530 5.7.0 Authentication required} }
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
END
}

write_dovecot_conf() {
    # The auth process reads the passwords as root, all others cannot.
    (umask 077; printf '%s\n' 'ann:{PLAIN}secret' 'bob:{PLAIN}pass word' >"$dir/etc/passwd")
    cat >"$dir/etc/dovecot.conf" <<END
base_dir = $run/dovecot
state_dir = $run/dovecot/state
instance_name = ${run//\//-}
log_path = $run/dovecot.log
protocols =
ssl = no
auth_mechanisms = plain login
# Little waiting after a wrong password (half a second is left), and not more
# each time, which anvil would count.
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
passdb {
  driver = passwd-file
  args = $run/etc/passwd
}
service auth {
  user = root
  unix_listener $run/queue/private/auth {
    user = postfix
    mode = 0600
  }
}
END
}

# --- start ----------------------------------------------------------------

# Does the server at PORT greet us?
greets() {
    local line=
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    read -r -t 10 line <&3 || true
    printf 'QUIT\r\n' >&3 2>/dev/null || true
    exec 3>&-
    case $line in '220 mail.test '*) ;; *) return 1 ;; esac
}

# tls_offers PATTERN ARGS...: greet the server that openssl s_client ARGS
# reaches over TLS; does its reply to EHLO have a line like PATTERN?
tls_offers() {
    local want=$1 line found=1 pid
    shift
    rm -f "$dir/etc"/tls.{in,out}
    mkfifo "$dir/etc"/tls.{in,out}
    # Opening one end of a pipe waits for the other, for ever if start is
    # interrupted now; so each is opened with both first.
    exec 3<>"$dir/etc/tls.in" 4<>"$dir/etc/tls.out"
    # quiet: an R or Q that starts a line is no command to s_client.
    openssl s_client -quiet -CAfile "$dir/cert.pem" -verify_return_error "$@" \
        <&3 >&4 2>>"$dir/out" 3<&- 4<&- &
    pid=$!
    exec 3>"$dir/etc/tls.in" 4<"$dir/etc/tls.out"
    # STARTTLS has no second greeting; else it is a fault to speak before it.
    case " $* " in
        *' -starttls '*) ;;
        *) read -r -t 10 line <&4 || line= ;;
    esac
    printf 'EHLO localhost\r\n' >&3 2>/dev/null || true
    while read -r -t 10 line <&4; do
        # shellcheck disable=SC2254 # it is a pattern
        case $line in $want) found=0 ;; esac
        case $line in '250 '*) break ;; esac
    done
    printf 'QUIT\r\n' >&3 2>/dev/null || true
    while read -r -t 10 line <&4; do :; done
    exec 3>&- 4<&-
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
    return $found
}

start() {
    local need attempt daemons
    [ "$EUID" = 0 ] || { say "needs root"; exit 1; }
    [ -z "$(ls -A "$dir")" ] || { say "$dir is not empty"; exit 1; }
    for need in postconf dovecot openssl setpriv flock; do
        command -v "$need" >/dev/null || { say "$need is not installed"; exit 1; }
    done
    uid=$(id -u nobody)
    gid=$(id -g nobody)

    # From here on a failure leaves nothing running. (A second signal must not
    # end the tidying up.)
    trap 'trap "" INT TERM HUP; stop_all || true' EXIT
    trap 'exit 1' INT TERM HUP
    # A peer that hangs up early must become a message, not the end of us.
    trap : PIPE

    make_dirs
    make_cert
    write_main_cf
    write_dovecot_conf

    # Daemons must not hold the caller's pipes open: all output goes to a file.
    dovecot -c "$run/etc/dovecot.conf" </dev/null >>"$dir/out" 2>&1 || die "dovecot does not start"

    daemons=$(built_in daemon_directory)
    # master -w returns when all ports are bound, or with an error. But master
    # shares a port with another master (SO_REUSEPORT), so only one instance
    # at a time may look for free ports; the lock is on this script itself.
    exec 5<"$0"
    flock -w 60 5 || die "cannot get the lock"
    for attempt in 1 2 3; do
        pick_ports
        write_master_cf
        if "$daemons/master" -w -c "$run/etc" </dev/null >>"$dir/out" 2>&1 5<&-; then
            attempt=
            break
        fi
    done
    # So early it reports to syslog only, whatever maillog_file says.
    [ -z "$attempt" ] || die "postfix's master does not start, it seems that ports were taken"
    exec 5<&-

    poll 10 test -S "$dir/queue/private/auth" || die "dovecot made no socket"
    greets "$plain" || die "no greeting from plain"
    greets "$starttls" || die "no greeting from starttls"
    tls_offers '250*' -connect "127.0.0.1:$smtps" || die "smtps does not work"
    tls_offers '250?AUTH *PLAIN*' -starttls smtp -connect "127.0.0.1:$submission" ||
        die "submission offers no AUTH"

    # Ready: from here on the instance is the caller's to stop.
    trap '' INT TERM HUP
    trap - EXIT
    printf '%s\n' "plain=$plain" "starttls=$starttls" "smtps=$smtps" "submission=$submission" "proxied=$proxied" \
        >"$dir/ports"
}

# --- main -----------------------------------------------------------------

if [ $# != 2 ] || [ ! -d "$2" ]; then
    say "usage: postfix.sh start|stop DIR"
    exit 2
fi
dir=$(cd -- "$2" && pwd -P)
run=
case $1 in
    start) start ;;
    stop) stop_all ;;
    *) say "unknown command: $1"; exit 2 ;;
esac
