/* TLS before the requests, and the round trips that its handshake takes. */
#include "nulls3.h"

#include <openssl/err.h>

enum { READ_AHEAD = 1 << 16 }; /* bytes of one system call; OpenSSL's own size is one record */

static SSL_CTX *context; /* NULL without TLS */

/* Wait where a client on a network waits for the next messages of the server.

   A client sends its hello, and waits one round trip for the server's. TLS 1.3 needs no more: the
   client's last message travels together with its first request. In TLS 1.2 the client waits
   another round trip for the server's last message, unless it resumes a session: then the last
   message of the server comes with its hello. A hello that asks for another key (HelloRetryRequest)
   is one more hello, and costs one more round trip. The tickets that follow are not waited for.

   OpenSSL calls this when it goes on from a state; the message of that state is not yet sent. The
   last message of TLS 1.2 is sent after the state in which the server changes its keys. */
static void delay_messages(const SSL *tls, int where, int value) {
    (void)value;
    if (!(where & SSL_CB_LOOP)) return;
    OSSL_HANDSHAKE_STATE state = SSL_get_state(tls);
    bool is_last = state == TLS_ST_SW_CHANGE && SSL_version(tls) < TLS1_3_VERSION &&
                   !SSL_session_reused(tls);
    if (state == TLS_ST_SW_SRVR_HELLO || is_last) wait_round_trip();
}

static void require(bool success) {
    if (success) return;
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Let connections speak TLS. Clients may resume sessions: tickets are OpenSSL's default. */
void use_tls(const char *certificate, const char *key) {
    context = SSL_CTX_new(TLS_server_method());
    require(context != NULL);
    require(SSL_CTX_use_certificate_chain_file(context, certificate) == 1);
    require(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    SSL_CTX_set_info_callback(context, delay_messages);
}

bool uses_tls(void) {
    return context != NULL;
}

/* Do the handshake of a new connection; return whether it succeeded. */
bool shake_hands(struct connection *with) {
    if (!context) return true;
    wait_round_trip(); /* TCP's own handshake, which takes no time on this machine */
    with->tls = SSL_new(context);
    return with->tls && SSL_set_fd(with->tls, with->socket) && SSL_accept(with->tls) == 1;
}

void end_tls(struct connection *with) {
    if (with->tls) SSL_free(with->tls);
    ERR_clear_error();
}
