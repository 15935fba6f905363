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
INSERT INTO "record" VALUES('018bcfe57b76-02a8dfe5d024acd9cba3',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000014.155,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000007.568]}}',0,1.70000000758935666082e+09);
INSERT INTO "record" VALUES('018bcfe5a596-835070581d891d98b787',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000018.213]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.70000001821868228909e+09);
COMMIT;
PRAGMA application_id=1296844620;
PRAGMA user_version=1;
