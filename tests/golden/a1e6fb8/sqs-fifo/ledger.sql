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
INSERT INTO "record" VALUES('018bcfe56b5e-2770c52f3131381a916c',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000003.24]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.70000000347509098051e+09);
INSERT INTO "record" VALUES('018bcfe5869d-81935561220229ab5fc0',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000018.186,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000010.448]}}',0,1.70000001044817304609e+09);
INSERT INTO "record" VALUES('018bcfe589c0-daf0148561929cb41d0a',0,0,NULL,NULL,NULL,0,1.70000001044048786166e+09);
INSERT INTO "record" VALUES('018bcfe5b72b-bca08a62087a53613c93',0,0,'4b5e3aff27b21',1.70000003047981929774e+09,'{"tasks":{"First":["d",1],"Second":["p",0]}}',0,1.70000002750210571283e+09);
INSERT INTO "record" VALUES('018bcfe5c1df-446e741afc30fbebe1c8',0,0,'4b5e3aff27b22',1.70000003047981929774e+09,NULL,0,1.70000002747981929784e+09);
INSERT INTO "record" VALUES('018bcfe5eb3b-91f4f0f5a5c744598b9a',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000043.367,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000039.194]}}',0,1.7000000393049788475e+09);
INSERT INTO "record" VALUES('018bcfe6199f-c2f73a596c4f169efc50',0,0,'c185c03a5fc82',1.70000005187975573536e+09,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000048.881]}}',0,1.70000004888090443613e+09);
INSERT INTO "record" VALUES('018bcfe63ae9-55c1f427d95945d70bdf',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",0]}}',1,1.70000005535331940656e+09);
COMMIT;
PRAGMA application_id=1296844620;
PRAGMA user_version=1;
