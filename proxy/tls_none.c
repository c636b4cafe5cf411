#include "proxy/tls.h"
#define F(x) x
pk_tls *pk_tls_for_clients(const pk_tls_files *f, pk_sslmode m, const char *v, pk_error *err){(void)f;(void)m;(void)v;pk_fail(err,PK_E_UNSUPPORTED,"no TLS");return NULL;}
pk_tls *pk_tls_for_server(const pk_tls_files *f, pk_sslmode m, const char *v, const char*h,bool d,pk_error *err){(void)f;(void)m;(void)v;(void)h;(void)d;pk_fail(err,PK_E_UNSUPPORTED,"no TLS");return NULL;}
pk_tls *pk_tls_ref(pk_tls *t){return t;}
void pk_tls_unref(pk_tls *t){(void)t;}
pk_sslmode pk_tls_mode(const pk_tls *t){(void)t;return PK_SSL_DISABLE;}
bool pk_tls_is_direct(const pk_tls *t){(void)t;return false;}
bool pk_tls_files_changed(const pk_tls *t){(void)t;return false;}
pk_tls_link *pk_tls_accept(pk_tls *t,int fd,pk_span b,pk_error *e){(void)t;(void)fd;(void)b;(void)e;return NULL;}
pk_tls_link *pk_tls_connect(pk_tls *t,int fd,pk_error *e){(void)t;(void)fd;(void)e;return NULL;}
void pk_tls_link_free(pk_tls_link *l){(void)l;}
bool pk_tls_handshake(pk_tls_link *l,pk_tls_stop *s,pk_error *e){(void)l;(void)e;*s=PK_TLS_BROKEN;return false;}
ssize_t pk_tls_read(pk_tls_link *l,void *t,size_t r,pk_tls_stop *s){(void)l;(void)t;(void)r;(void)s;return -1;}
ssize_t pk_tls_write(pk_tls_link *l,pk_span b,pk_tls_stop *s){(void)l;(void)b;(void)s;return -1;}
bool pk_tls_has_alpn(const pk_tls_link *l){(void)l;return false;}
bool pk_tls_link_peer_names(const pk_tls_link *l,char *s,size_t z,char *c,size_t n){(void)l;(void)s;(void)z;(void)c;(void)n;return false;}
const char *pk_tls_link_version(const pk_tls_link *l){(void)l;return "";}
const char *pk_tls_link_cipher(const pk_tls_link *l){(void)l;return "";}
