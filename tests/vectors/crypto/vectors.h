/* Written by make_vectors.py; do not edit. */
/* clang-format off */
#ifndef PK_TESTS_VECTORS_CRYPTO_H
#define PK_TESTS_VECTORS_CRYPTO_H

static const struct hkdf_vector {
    const char *name, *key, *label, *context, *out;
} hkdf_vectors[] __attribute__((unused)) = {
    {"pgkeep wrap 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep wrap 1", "", "926f1d0dde6a64dd54288902c62037af9550b9e8d36ff77a6fa0d33faaaa7a8c"},
    {"pgkeep wrap 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep wrap 1", "a context", "28b64a0b602dfaaecbe735dc7ce36233ee5838b048cc772892d58c7fe1bfe335"},
    {"pgkeep fp 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep fp 1", "", "6d5cbfebaa50726294da737e0d00e25a4cf722c19da81f3cf362d1a83d2ff71c"},
    {"pgkeep fp 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep fp 1", "a context", "ff7c8ec9904053f250fd7ff79e710a767ff8d2d00b4721d034451f071bc7323d"},
    {"pgkeep row 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep row 1", "", "98e801532c9491b52c03dd2dc052cd5c5c20e53b62193b97cdb4478f7b887bf0"},
    {"pgkeep row 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep row 1", "a context", "1683f41b69833eeba6dd5bccf9cbed0248e8744a9b2e444d5cbd1e1ab9f3e488"},
    {"pgkeep audit 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep audit 1", "", "f3f1e2275d27e913b5743967c1d6306b62162d550e186266b2a8fc2eba2d272b"},
    {"pgkeep audit 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep audit 1", "a context", "6c57278a3dd0cdc373cd4b49aaf45f8c7bcc9fe19b2eb16bf6334972865f9a78"},
    {"pgkeep slot 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep slot 1", "", "c6b3ca5d55720313afc6e3dbe0ad7c97c5277241eb624b52588a3f52e1500083"},
    {"pgkeep slot 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep slot 1", "a context", "43954a2b8ea550a9b108af853f96a9c61757dd14bd3c285e2f4ca6a338b9c072"},
    {"pgkeep kek 1", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep kek 1", "", "1b80147567100408e518342d5f26c11b77d070f4c034f83ab541a97344a14a54"},
    {"pgkeep kek 1 with a context", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "pgkeep kek 1", "a context", "f96fe32bc3d101f90144d9841f9167a10b384d61e7df7863151f248a5cc90e79"},
};

/* kek: of a recovery slot in the store of OTHER's first 16 bytes. */
static const struct recovery_vector {
    const char *name, *secret, *code, *kek;
} recovery_vectors[] __attribute__((unused)) = {
    {"counting bytes", "000102030405060708090a0b0c0d0e0f10111213", "000G-40R4-0M30-E209-185G-R38E-1W81-24GK-CF", "fc4b320b3922a77b93f4e47de3a6a16e9fb598adbab745c5c22f80b47ff47fcd"},
    {"all zero", "0000000000000000000000000000000000000000", "0000-0000-0000-0000-0000-0000-0000-0000-00", "547cd23edbddf3cc2ff15fea8144fe1d27410b84a2fe7fcfda16807df0cb56cf"},
    {"all ones", "ffffffffffffffffffffffffffffffffffffffff", "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-AK", "ab3df1fe4e5c20186c1192f98aa74adadbaa68a2dcc9ab2480f683a3797891a8"},
    {"bytes of a5", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "MPJT-B9D5-MPJT-B9D5-MPJT-B9D5-MPJT-B9D5-VG", "d2cde563331d128a0eec19f4a47585c84816d51cdbce174b2d0a6a57d50dbcba"},
};

static const struct fp_vector {
    const char *name, *key, *fp, *text;
} fp_vectors[] __attribute__((unused)) = {
    {"counting key", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "6d5cbfebaa50726294da737e0d00e25a", "pgk1:6d5c-bfeb-aa50-7262"},
    {"key of a5", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "623dfb71bdcc54753074e8c4690b4efa", "pgk1:623d-fb71-bdcc-5475"},
    {"key of zeros", "0000000000000000000000000000000000000000000000000000000000000000", "f3ecc3b3c3f1815dce11c4d8d1b960e3", "pgk1:f3ec-c3b3-c3f1-815d"},
};

static const struct wrap_vector {
    const char *name, *parent, *key;
    const char *store, *parent_kind, *parent_uuid;
    unsigned parent_ver;
    const char *child_kind, *child_uuid;
    unsigned child_ver;
    const char *child_alg, *purpose;
    unsigned flags;
    const char *owner_scope, *blob;
} wrap_vectors[] __attribute__((unused)) = {
    {"database master key under the service master key", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "000102030405060708090a0b0c0d0e0f", "smk", "11111111111111111111111111111111", 1, "dmk", "22222222222222222222222222222222", 16909060, "A256", "wrap", 1, "db:sales",
     "01016465666768696a6b6c6d6e6fe500e1689a7b460ad5f8ee7d91ee0a2770582d7416afc0430305fef5884fb1dd74166e2832260b815449b9b56e5ff8a2"},
    {"data key outside the catalog", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "00000000000000000000000000000000", "dmk", "33333333333333333333333333333333", 7, "data key", "44444444444444444444444444444444", 1, "A256", "wrap", 0, "service",
     "01016465666768696a6b6c6d6e6f5b0ecfe156022c0395098447382618e4aa3179c604d7b03842ea28cd6c5517868273d06851fbd98904b53445ba5f836d"},
};

static const struct pbkdf2_vector {
    const char *name, *password, *salt;
    unsigned rounds;
    const char *out;
} pbkdf2_sha512_vectors[] __attribute__((unused)) = {
    {"PBKDF2-HMAC-SHA512 with 1 rounds", "password", "73616c74", 1, "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252"},
    {"PBKDF2-HMAC-SHA512 with 2 rounds", "password", "73616c74", 2, "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c"},
    {"PBKDF2-HMAC-SHA512 with 10000 rounds", "Tr0ub4dor&3", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 10000, "138061b6d0509970064e1b494d7332304e545500db312513a68243d0504183aa"},
};

static const struct pwri_vector {
    const char *name, *kek, *iv, *cek, *wrapped;
} pwri_vectors[] __attribute__((unused)) = {
    {"RFC 3211 with AES-256-CBC", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "000102030405060708090a0b0c0d0e0f", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "9e910034f258a36cd156e0f3317600b82ffc1b9d3ae8dc2c4e18d7ebc9572f69cfe6a115f6edf03d37bd14dc0c4ad25d"},
    {"the same with other keys", "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "fefefefefefefefefefefefefefefefe", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "2b01c3e9d170a58914b6d9727f728d9573f5044e04a92590670bb2efcb2769a443a554e1eaab07e47217fe48a368676f"},
};

/* An identity whose private key is 32 bytes of a5, and a payload that it signed. */
#define IDENTITY_PRIVATE "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
#define IDENTITY_PUBLIC "29e5833a915a6429a4e3a7948475c338ef436eb82be89c92f059704403db9d55"
#define IDENTITY_FP "a1d577350a959ecd921460e0ed89bd14"
#define IDENTITY_FP_TEXT "pgs1:a1d5-7735-0a95-9ecd"
static const char payload_vector[] __attribute__((unused)) =
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"alg\":\"A256GCM\",\"kid\":\"00112233-4455-6677-8899-aabbccddeeff:2\",\"key_ops\":[\"wrapKey\",\"unwrapKey\"],\"pgkeep\":{\"kind\":\"dmk\",\"scope\":\"db\",\"db\":\"sales\",\"name\":\"master\",\"ver\":2,\"state\":\"retired\",\"fp\":\"pgk1:6d5c-bfeb-aa50-7262\",\"purpose\":\"wrap\",\"exportable\":false,\"created_at\":\"2026-03-01T02:03:04Z\",\"origin\":\"restored\"}},{\"kty\":\"oct\",\"k\":\"paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaU\",\"alg\":\"A256GCM\",\"kid\":\"00112233-4455-6677-8899-aabbccddeeff:3\",\"key_ops\":[\"wrapKey\",\"unwrapKey\"],\"pgkeep\":{\"kind\":\"dmk\",\"scope\":\"db\",\"db\":\"sales\",\"name\":\"master\",\"ver\":3,\"state\":\"current\",\"fp\":\"pgk1:623d-fb71-bdcc-5475\",\"purpose\":\"wrap\",\"exportable\":true,\"created_at\":\"2026-03-01T02:03:04Z\",\"origin\":\"generated\"}}],\"pgkeep\":{\"format\":1,\"type\":\"BACKUP MASTER KEY\",\"store\":\"0f0e0d0c-0b0a-4908-8706-050403020100\",\"store_epoch\":412,\"audit_head\":\"00ff\",\"created_at\":\"2026-03-02T00:00:00Z\",\"created_by\":\"alice\",\"server\":{\"version\":\"15.4\",\"system_identifier\":\"7300000000000000001\"},\"complete\":true,\"count\":2,\"recipients\":[\"password\"],\"known_backups\":[],\"identity\":\"KeWDOpFaZCmk46eUhHXDOO9Dbrgr6JyS8FlwRAPbnVU\"}}\n#pgkeep-sig 1 ed25519 pgs1:a1d5-7735-0a95-9ecd GBqvlEojj0OjpbZwq5XEbJYDI6X/fWHz55kQiHuHsMwIZmPSiGQcqwBJq7cZuCJIYc/nuoY7X3SbnZ3yZRWhCg==\n";

#endif
