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
INSERT INTO "record" VALUES('018bcfe56ff5-39f14eeab0dee8f93e6c',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.7000000042666742802e+09);
INSERT INTO "record" VALUES('018bcfe57efa-6b4d0996996261851266',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000010.667,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000009.118]}}',0,1.70000000917322254185e+09);
INSERT INTO "record" VALUES('018bcfe59d02-fb3dbb9dc84f67e593e7',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000019.442]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.70000001946270155907e+09);
INSERT INTO "record" VALUES('018bcfe5bf9d-a614d5941a1ac6d38c29',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.7000000268599512577e+09);
INSERT INTO "record" VALUES('018bcfe5de04-6ede5d8fd5bc2dbb4f05',0,0,'ca7a4daf16e01',1.70000003672094655033e+09,'{"tasks":{"First":["d",1],"Second":["p",1,1700000034.731,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000033.723]}}',0,1.70000003372881960863e+09);
INSERT INTO "record" VALUES('018bcfe5f941-acc69515d6f2ad0304db',0,1,'19b479cd63532',1.70000004526352143287e+09,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000042.264]}}',0,1.70000004226456713678e+09);
INSERT INTO "record" VALUES('018bcfe613bd-bec64f82e190f21ad494',0,0,'425ca625ccfa1',1.70000005002821350094e+09,'{"tasks":{"First":["d",1],"Second":["p",0]}}',0,1.70000004703470206264e+09);
INSERT INTO "record" VALUES('018bcfe62640-04187098062a59ecd169',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",0]}}',1,1.70000005180147886274e+09);
COMMIT;
PRAGMA application_id=1296844620;
PRAGMA user_version=1;
