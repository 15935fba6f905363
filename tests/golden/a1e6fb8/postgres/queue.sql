BEGIN TRANSACTION;
CREATE TABLE anchor (boot_id TEXT NOT NULL, offset_s REAL NOT NULL);
INSERT INTO "anchor" VALUES('b85443b3-912b-41a1-84a0-c9977a77bb46',1.69995837495468759539e+09);
CREATE TABLE content (id INTEGER PRIMARY KEY, body BLOB NOT NULL, attributes TEXT);
INSERT INTO "content" VALUES(3,X'6F6E6365','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe57279-532e542d67fcde8d5098\",\"gen\":0,\"hop\":1,\"seen\":1700000004.495,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000518.333,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000004.533]}}"}');
INSERT INTO "content" VALUES(6,X'6E65766572','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe57e8d-e729f9311ea55bc1c9a2\",\"gen\":0,\"hop\":1,\"seen\":1700000007.212,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"x\",2,0.0,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000007.405]}}"}');
INSERT INTO "content" VALUES(7,X'66696E6973686564','{"mulligan-uid":"018bcfe586b3-6f22bddafb7c5b74"}');
INSERT INTO "content" VALUES(8,X'636F70696564','{"mulligan-uid":"018bcfe58f05-2aee23c19c4ecae4"}');
INSERT INTO "content" VALUES(9,X'636F70696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe58f05-5da2faf0f816072be767\",\"gen\":0,\"hop\":1,\"seen\":1700000011.061,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000488.773,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000011.075]}}"}');
INSERT INTO "content" VALUES(11,X'627572696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe594dd-02569d79a912259ee71c\",\"gen\":0,\"hop\":1,\"seen\":1700000013.157,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000013.385,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000013.227]}}"}');
INSERT INTO "content" VALUES(12,X'627572696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe594dd-02569d79a912259ee71c\",\"gen\":0,\"hop\":1,\"seen\":1700000013.157,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"x\",2,0.0,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000013.391]}}"}');
INSERT INTO "content" VALUES(13,X'637574','{"mulligan-uid":"018bcfe59e41-00518a9dc96e4007"}');
INSERT INTO "content" VALUES(14,X'6372617368','{"mulligan-uid":"018bcfe5a638-5cd5945ff16ece8d"}');
CREATE TABLE message (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                queue INTEGER NOT NULL,
                visible_at REAL NOT NULL,
                receive_count INTEGER NOT NULL DEFAULT 0,
                is_leased INTEGER NOT NULL DEFAULT 0,
                sent_at REAL NOT NULL
            );
INSERT INTO "message" VALUES(3,2,1.70000051833379912371e+09,0,0,1.70000000457884979255e+09);
INSERT INTO "message" VALUES(6,3,1.70000000741158175474e+09,0,0,1.70000000741165852545e+09);
INSERT INTO "message" VALUES(7,1,1.70000060939065670965e+09,1,1,1.70000000785948657995e+09);
INSERT INTO "message" VALUES(8,1,1.70000061105584144597e+09,1,1,1.70000000998950743678e+09);
INSERT INTO "message" VALUES(9,2,1.70000048877423715586e+09,0,0,1.70000001109828639033e+09);
INSERT INTO "message" VALUES(11,2,1.70000061338638591766e+09,1,1,1.70000001325184035296e+09);
INSERT INTO "message" VALUES(12,3,1.70000001339294838902e+09,0,0,1.70000001339299130435e+09);
INSERT INTO "message" VALUES(13,1,1.70000061516179966922e+09,1,1,1.70000001388929653164e+09);
INSERT INTO "message" VALUES(14,1,0.0,1,0,1.70000001592832422256e+09);
CREATE TABLE queue (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO "queue" VALUES(1,'msgparser-requests-q');
INSERT INTO "queue" VALUES(2,'msgparser-rejects-q');
INSERT INTO "queue" VALUES(3,'msgparser-dead-q');
CREATE INDEX message_order ON message (queue, visible_at, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('message',14);
COMMIT;
PRAGMA application_id=1296844625;
PRAGMA user_version=1;
