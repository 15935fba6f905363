BEGIN TRANSACTION;
CREATE TABLE record (
                uid TEXT NOT NULL,
                generation INTEGER NOT NULL,
                hop INTEGER NOT NULL,
                token TEXT,
                until REAL,
                progress TEXT,
                deaths INTEGER NOT NULL,
                touched_at REAL NOT NULL,
                PRIMARY KEY (uid, generation)
            ) WITHOUT ROWID;
INSERT INTO "record" VALUES('018bcfe568f9-8fbe9013a3ecb1fb089e',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.70000000097590756413e+09);
INSERT INTO "record" VALUES('018bcfe56d12-fb6fd38d49910c47b545',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000381.006,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000002.135]}}',0,1.70000000214285016059e+09);
INSERT INTO "record" VALUES('018bcfe573c8-5685b68ab7079f7dbe40',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000003.828]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.70000000383482646943e+09);
INSERT INTO "record" VALUES('018bcfe5789e-8c6dc35fdd4a9f9eefc5',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.70000000501927542688e+09);
INSERT INTO "record" VALUES('018bcfe57cd3-af174873376a1c4e6f82',0,0,'89efb879ce881',1.70000060611117196078e+09,'{"tasks":{"First":["d",1],"Second":["p",1,1700000308.038,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000006.115]}}',0,1.70000000611532545093e+09);
INSERT INTO "record" VALUES('018bcfe58124-bd4b47dca18e042e50aa',0,1,'947093da59bb2',1.70000060737899398805e+09,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000007.38]}}',0,1.70000000738023424149e+09);
INSERT INTO "record" VALUES('018bcfe58655-99c8f18126e1a18fa882',0,0,'6eeed5f2f7e51',1.70000060845530390736e+09,'{"tasks":{"First":["d",1],"Second":["p",0]}}',0,1.70000000846330809592e+09);
INSERT INTO "record" VALUES('018bcfe58a31-9e8ddedc0cd4ee3c5a2d',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",0]}}',1,1.70000000941892528538e+09);
COMMIT;
PRAGMA application_id=1296844620;
PRAGMA user_version=1;
