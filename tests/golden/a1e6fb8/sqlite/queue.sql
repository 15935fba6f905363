BEGIN TRANSACTION;
CREATE TABLE anchor (boot_id TEXT NOT NULL, offset_s REAL NOT NULL);
INSERT INTO "anchor" VALUES('b85443b3-912b-41a1-84a0-c9977a77bb46',1.69995849583042693141e+09);
CREATE TABLE content (id INTEGER PRIMARY KEY, body BLOB NOT NULL, attributes TEXT);
INSERT INTO "content" VALUES(3,X'6F6E6365','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe56d12-fb6fd38d49910c47b545\",\"gen\":0,\"hop\":1,\"seen\":1700000002.127,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000381.006,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000002.135]}}"}');
INSERT INTO "content" VALUES(6,X'6E65766572','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe573c8-5685b68ab7079f7dbe40\",\"gen\":0,\"hop\":1,\"seen\":1700000003.64,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"x\",2,0.0,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000003.828]}}"}');
INSERT INTO "content" VALUES(7,X'66696E6973686564','{"mulligan-uid":"018bcfe5789e-6f406f57797af5a2"}');
INSERT INTO "content" VALUES(8,X'636F70696564','{"mulligan-uid":"018bcfe57cd3-ea87638a5ec1ce53"}');
INSERT INTO "content" VALUES(9,X'636F70696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe57cd3-af174873376a1c4e6f82\",\"gen\":0,\"hop\":1,\"seen\":1700000006.111,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000308.038,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000006.115]}}"}');
INSERT INTO "content" VALUES(11,X'627572696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe58124-bd4b47dca18e042e50aa\",\"gen\":0,\"hop\":1,\"seen\":1700000007.212,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"p\",1,1700000007.373,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000007.219]}}"}');
INSERT INTO "content" VALUES(12,X'627572696564','{"mulligan":"{\"v\":1,\"uid\":\"018bcfe58124-bd4b47dca18e042e50aa\",\"gen\":0,\"hop\":1,\"seen\":1700000007.212,\"tasks\":{\"First\":[\"d\",1],\"Second\":[\"x\",2,0.0,\"RuntimeError: as its name says\\n  tasks/work.py line 18 in run: raise RuntimeError(\\\"as its name says\\\")\",1700000007.38]}}"}');
INSERT INTO "content" VALUES(13,X'637574','{"mulligan-uid":"018bcfe58655-55b165957a18bc11"}');
INSERT INTO "content" VALUES(14,X'6372617368','{"mulligan-uid":"018bcfe58a31-e67ce631966edacb"}');
CREATE TABLE message (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                queue INTEGER NOT NULL,
                visible_at REAL NOT NULL,
                receive_count INTEGER NOT NULL DEFAULT 0,
                is_leased INTEGER NOT NULL DEFAULT 0,
                sent_at REAL NOT NULL
            );
INSERT INTO "message" VALUES(3,2,1.70000038100692939758e+09,0,0,1.70000000213798093794e+09);
INSERT INTO "message" VALUES(6,3,1.70000000383066225055e+09,0,0,1.70000000383070659637e+09);
INSERT INTO "message" VALUES(7,1,1.70000060499821138378e+09,1,1,1.70000000425464367864e+09);
INSERT INTO "message" VALUES(8,1,1.70000060610091471673e+09,1,1,1.70000000533167934415e+09);
INSERT INTO "message" VALUES(9,2,1.70000030803935933115e+09,0,0,1.70000000611843562125e+09);
INSERT INTO "message" VALUES(11,2,1.70000060737479782111e+09,1,1,1.70000000722305035592e+09);
INSERT INTO "message" VALUES(12,3,1.70000000738310360912e+09,0,0,1.70000000738315868373e+09);
INSERT INTO "message" VALUES(13,1,1.70000060844720983508e+09,1,1,1.70000000776518225666e+09);
INSERT INTO "message" VALUES(14,1,0.0,1,0,1.70000000875343942646e+09);
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
