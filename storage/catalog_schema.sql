-- The catalog's schema, in numbered steps. A step that was released is never changed again: what
-- comes later is a further step. Each step runs once, in one transaction with its row in
-- schema_migration. docs/formats/catalog.md explains the tables; keys-and-security 6.1 is their
-- origin. Times are microseconds since 1970, UTC. Blobs are sealed before they arrive here.

-- step 1

CREATE TABLE schema_migration (
    ver            INTEGER NOT NULL PRIMARY KEY CHECK (ver > 0),
    applied_at     INTEGER NOT NULL,
    pgkeep_version TEXT    NOT NULL
) STRICT;

CREATE TABLE store (
    uuid          BLOB    NOT NULL PRIMARY KEY CHECK (length(uuid) = 16),
    fmt           INTEGER NOT NULL,
    epoch         INTEGER NOT NULL CHECK (epoch >= 0),
    identity_pub  BLOB    NOT NULL CHECK (length(identity_pub) = 32),
    identity_blob BLOB    NOT NULL,
    sk_fp         BLOB    NOT NULL CHECK (length(sk_fp) = 16),
    created_at    INTEGER NOT NULL,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32),
    one           INTEGER NOT NULL DEFAULT 1 UNIQUE CHECK (one = 1)
) STRICT;

CREATE TABLE slot (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind        TEXT    NOT NULL CHECK (kind IN ('password', 'recovery', 'file', 'env', 'credential',
                                                 'kms', 'pkcs11', 'tpm2')),
    label       TEXT,
    params_json TEXT,
    kdf_json    TEXT,
    blob        BLOB    NOT NULL,
    created_at  INTEGER NOT NULL,
    last_ok_at  INTEGER,
    mac         BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

CREATE TABLE key (
    uuid        BLOB    NOT NULL PRIMARY KEY CHECK (length(uuid) = 16),
    scope       TEXT    NOT NULL CHECK (scope IN ('service', 'db')),
    db_oid      INTEGER NOT NULL CHECK (db_oid BETWEEN 0 AND 4294967295),
    db_name     TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('smk', 'dmk', 'named', 'secret')),
    name        TEXT    NOT NULL CHECK (name <> ''),
    alg         TEXT    NOT NULL,
    purpose     TEXT    NOT NULL CHECK (purpose IN ('wrap', 'tde', 'app')),
    exportable  INTEGER NOT NULL CHECK (exportable IN (0, 1)),
    state       TEXT    NOT NULL CHECK (state IN ('active', 'retired', 'disabled', 'quarantined',
                                                  'pending_destroy', 'destroyed')),
    current_ver INTEGER NOT NULL CHECK (current_ver >= 0),
    created_at  INTEGER NOT NULL,
    modified_at INTEGER,
    created_by  TEXT,
    mac         BLOB    NOT NULL CHECK (length(mac) = 32),
    CHECK ((scope = 'service') = (db_name = ''))
) STRICT;
CREATE UNIQUE INDEX key_live ON key (scope, db_name, kind, name)
    WHERE state NOT IN ('destroyed', 'retired');

CREATE TABLE key_backup (
    id              INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    dest_redacted   TEXT    NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    size            INTEGER NOT NULL CHECK (size >= 0),
    recipients_json TEXT,
    contents_json   TEXT,
    signer_fp       BLOB,
    verified_at     INTEGER,
    created_by      TEXT,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE key_version (
    key_uuid   BLOB    NOT NULL REFERENCES key (uuid),
    ver        INTEGER NOT NULL CHECK (ver > 0),
    state      TEXT    NOT NULL CHECK (state IN ('current', 'retired', 'disabled', 'compromised',
                                                 'quarantined', 'pending_destroy', 'destroyed')),
    fp         BLOB    NOT NULL CHECK (length(fp) = 16),
    origin     TEXT    NOT NULL CHECK (origin IN ('generated', 'restored', 'imported')),
    created_at INTEGER NOT NULL,
    not_after  INTEGER,
    destroy_at INTEGER,
    covered_by INTEGER REFERENCES key_backup (id),
    mac        BLOB    NOT NULL CHECK (length(mac) = 32),
    PRIMARY KEY (key_uuid, ver)
) STRICT;

-- A quarantined wrap may name a parent that this catalog does not know (yet), hence no reference.
CREATE TABLE wrap (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    key_uuid    BLOB    NOT NULL,
    ver         INTEGER NOT NULL,
    "by"        TEXT    NOT NULL CHECK ("by" IN ('sk', 'smk', 'dmk', 'key', 'password')),
    parent_uuid BLOB    CHECK (length(parent_uuid) = 16),
    parent_ver  INTEGER,
    parent_fp   BLOB    CHECK (length(parent_fp) = 16),
    kdf_json    TEXT,
    blob        BLOB    NOT NULL,
    quarantined INTEGER NOT NULL CHECK (quarantined IN (0, 1)),
    mac         BLOB    NOT NULL CHECK (length(mac) = 32),
    FOREIGN KEY (key_uuid, ver) REFERENCES key_version (key_uuid, ver),
    CHECK (("by" IN ('sk', 'password')) = (parent_uuid IS NULL)),
    CHECK (("by" = 'password') = (kdf_json IS NOT NULL))
) STRICT;
CREATE INDEX wrap_of_version ON wrap (key_uuid, ver);

CREATE TABLE external_connection (
    name          TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    kind          TEXT    NOT NULL CHECK (kind IN ('storage', 'kms')),
    uri_redacted  TEXT    NOT NULL,
    sealed_secret BLOB    NOT NULL,
    owner         TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    modified_at   INTEGER,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- Rules that an administrator keeps in the keystore rather than in a file, by name.
CREATE TABLE policy (
    name    TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    value   TEXT    NOT NULL,
    set_by  TEXT    NOT NULL,
    set_at  INTEGER NOT NULL,
    mac     BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- One row per manifest that was written or checked here: full and incrementals of a chain.
CREATE TABLE known_backup (
    collection_redacted TEXT    NOT NULL,
    chain               BLOB    NOT NULL CHECK (length(chain) = 16),
    manifest_sha256     BLOB    NOT NULL CHECK (length(manifest_sha256) = 32),
    recipients_json     TEXT,
    seen_at             INTEGER NOT NULL,
    PRIMARY KEY (collection_redacted, chain, manifest_sha256)
) STRICT;

CREATE TABLE audit (
    seq           INTEGER NOT NULL PRIMARY KEY,
    epoch         INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    actor         TEXT,
    client        TEXT,
    tls_subject   TEXT,
    db            TEXT,
    action        TEXT    NOT NULL,
    object        TEXT,
    fp            TEXT,
    outcome       TEXT    NOT NULL CHECK (outcome IN ('ok', 'refused', 'failed')),
    sqlstate      TEXT,
    text_redacted TEXT,
    prev          BLOB    NOT NULL CHECK (length(prev) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
