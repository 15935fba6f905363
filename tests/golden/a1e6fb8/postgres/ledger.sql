CREATE TABLE recorded.mulligan_record (
    uid text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    hop bigint NOT NULL,
    asked_hop bigint NOT NULL,
    token text,
    ended text,
    until double precision,
    progress text,
    deaths integer NOT NULL,
    touched_at double precision NOT NULL
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE recorded.mulligan_version (
    version integer NOT NULL
);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe569bf-425cd11b90721588aa94', 0, 0, 0, NULL, 'bd8b626d0af01', NULL, '{"tasks":{"First":["d",1],"Second":["d",1]}}', 0, 1700000001.751869);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe57279-532e542d67fcde8d5098', 0, 1, 0, NULL, '00a6e63c2f651', NULL, '{"tasks":{"First":["d",1],"Second":["p",1,1700000518.333,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000004.533]}}', 0, 1700000004.584921);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe5a638-32440ead9f7419d8b71a', 0, 0, 0, NULL, NULL, NULL, '{"tasks":{"First":["d",1],"Second":["p",0]}}', 1, 1700000017.760626);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe57e8d-e729f9311ea55bc1c9a2', 0, 1, 1, NULL, '7458abd51c262', NULL, '{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000007.405]},"buried":true,"alerts":{"Alert":["d",1]}}', 0, 1700000007.420305);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe586b3-519722c23032093212c2', 0, 0, 0, NULL, '09815615d3b31', NULL, '{"tasks":{"First":["d",1],"Second":["d",1]}}', 0, 1700000009.446858);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe58f05-5da2faf0f816072be767', 0, 0, 0, 'd3a9d61becca1', NULL, 1700000611.07415, '{"tasks":{"First":["d",1],"Second":["p",1,1700000488.773,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000011.075]}}', 0, 1700000011.096746);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe594dd-02569d79a912259ee71c', 0, 1, 1, '1b9516bbfa492', NULL, 1700000613.38798, '{"tasks":{"First":["d",1],"Second":["x",2,0.0,"RuntimeError: as its name says\n  tasks/work.py line 18 in run: raise RuntimeError(\"as its name says\")",1700000013.391]}}', 0, 1700000013.39226);
INSERT INTO recorded.mulligan_record VALUES ('018bcfe59e41-6b9facee1393a50631ab', 0, 0, 0, 'c0d83ae8ac6d1', NULL, 1700000615.20937, '{"tasks":{"First":["d",1],"Second":["p",0]}}', 0, 1700000015.239434);
INSERT INTO recorded.mulligan_version VALUES (1);
ALTER TABLE ONLY recorded.mulligan_record
    ADD CONSTRAINT mulligan_record_pkey PRIMARY KEY (uid, generation);
