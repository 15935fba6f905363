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
INSERT INTO "record" VALUES('018bcfe5767d-cd3890c67a42bb2981c6',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.70000001501193594936e+09);
INSERT INTO "record" VALUES('018bcfe5c538-3ca350a67a39c796fcfe',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000039.351,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000031.708]}}',0,1.70000003183341646191e+09);
INSERT INTO "record" VALUES('018bcfe6166b-e5cd32195700fd791790',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000055.897]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.70000005604708194733e+09);
INSERT INTO "record" VALUES('018bcfe6743b-f410946f249b13bf32ac',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["d",1]}}',0,1.70000007943565154076e+09);
INSERT INTO "record" VALUES('018bcfe6bb83-73344934adad2027cd32',0,0,'c489f0402ab91',1.70000010116141772272e+09,'{"tasks":{"First":["d",1],"Second":["p",1,1700000103.903,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000098.174]}}',0,1.7000000981739904881e+09);
INSERT INTO "record" VALUES('018bcfe712c9-79c51153699d4b427c2d',0,1,'112c3634e2a02',1.70000012346677970885e+09,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000120.468]}}',0,1.70000012046784257889e+09);
INSERT INTO "record" VALUES('018bcfe75eb0-ab50325b3075cbd60ee0',0,0,'aea57cadb8001',1.70000013936247825621e+09,'{"tasks":{"First":["d",1],"Second":["p",0]}}',0,1.70000013638597178462e+09);
INSERT INTO "record" VALUES('018bcfe798c7-6edd00b2903ab5fc4f1a',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000155.43,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000150.344]}}',0,1.70000015048087453842e+09);
INSERT INTO "record" VALUES('018bcfe7cefb-166eeb0b87dd49bac68d',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000167.388,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000159.918]}}',0,1.70000016002656364434e+09);
INSERT INTO "record" VALUES('018bcfe803ba-c6755d1b85b21d1d5533',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000176.093]},"buried":true,"alerts":{"Alert":["d",1]}}',0,1.7000001762193472385e+09);
INSERT INTO "record" VALUES('018bcfe834c8-a44c53dd6eb500c5881a',0,1,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",1,1700000194.25,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000188.057]}}',0,1.70000018816580176356e+09);
INSERT INTO "record" VALUES('018bcfe86c35-9f89e69a71d9a744ec0b',0,0,NULL,NULL,'{"tasks":{"First":["d",1],"Second":["p",0]}}',1,1.70000019960975837706e+09);
COMMIT;
PRAGMA application_id=1296844620;
PRAGMA user_version=1;
