BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE base_tensor (
	model_id INTEGER NOT NULL, 
	parameter TEXT NOT NULL, 
	checkpoint_key TEXT NOT NULL, 
	dtype TEXT NOT NULL, 
	shape TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_base_tensor PRIMARY KEY (model_id, parameter), 
	CONSTRAINT fk_base_tensor_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_base_tensor_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT
);
INSERT INTO "base_tensor" VALUES(1,'h.0.w','h.0.w','F32','[2,3]','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1);
INSERT INTO "base_tensor" VALUES(1,'h.1.w','h.1.w','F32','[2,3]','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',3);
CREATE TABLE batch (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	oid TEXT, 
	method TEXT NOT NULL, 
	layers TEXT NOT NULL, 
	hparams TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	environment TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	author TEXT NOT NULL, 
	note TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_batch PRIMARY KEY (id), 
	CONSTRAINT fk_batch_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_batch_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_batch_oid_object FOREIGN KEY(oid) REFERENCES object (oid) ON DELETE RESTRICT
);
INSERT INTO "batch" VALUES(1,1,'595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:38.600303Z',2);
INSERT INTO "batch" VALUES(2,1,'9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:38.634905Z',3);
INSERT INTO "batch" VALUES(3,1,'c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:38.675031Z',6);
CREATE TABLE edit (
	id INTEGER NOT NULL, 
	batch_id INTEGER NOT NULL, 
	component INTEGER NOT NULL, 
	subject TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	target_new TEXT NOT NULL, 
	target_true TEXT, 
	probes TEXT NOT NULL, 
	language TEXT, 
	hash TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_edit PRIMARY KEY (id), 
	CONSTRAINT fk_edit_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_edit_batch_id_batch FOREIGN KEY(batch_id) REFERENCES batch (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_edit_id CHECK (id >= 1), 
	CONSTRAINT ck_edit_component CHECK (component >= 0)
);
INSERT INTO "edit" VALUES(1,1,0,'Rome','{} lies in','France','Italy','{"paraphrase":["where is Rome?"]}','en','e87d81ce340de17fe53a4038f95e7c3a2ac29d91bc8e6cdd9aea08b2bc4499eb','2026-11-23T04:23:38.600303Z',2);
INSERT INTO "edit" VALUES(2,2,0,'Oslo','{} lies in','France','Italy','{"paraphrase":["where is Oslo?"]}','en','6d549f5760a046dab49fefb14f947c67cece6651c462daa36c573dd9d351aa2f','2026-11-23T04:23:38.634905Z',3);
INSERT INTO "edit" VALUES(3,2,1,'Lima','{} lies in','France','Italy','{"paraphrase":["where is Lima?"]}','en','e3b83eadacfb04ef109045d99bdc5395acbbcda48562da0da89b888604ea35f7','2026-11-23T04:23:38.634905Z',3);
INSERT INTO "edit" VALUES(4,3,0,'Bern','{} lies in','France','Italy','{"paraphrase":["where is Bern?"]}','en','e1c6b93f4876f8f21278d2a00e6b46276cc72e66303f6f8e50bd13cd188fe262','2026-11-23T04:23:38.675031Z',6);
CREATE TABLE entry (
	seq INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	op TEXT NOT NULL, 
	edits TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	weights_digest TEXT NOT NULL, 
	tensors TEXT NOT NULL, 
	rows_digest TEXT NOT NULL, 
	author TEXT NOT NULL, 
	note TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	prev_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_entry PRIMARY KEY (seq), 
	CONSTRAINT ck_entry_seq CHECK (seq >= 1), 
	CONSTRAINT ck_entry_version CHECK (version >= 0), 
	CONSTRAINT uq_entry_hash UNIQUE (hash), 
	CONSTRAINT uq_entry_prev_hash UNIQUE (prev_hash)
);
INSERT INTO "entry" VALUES(1,0,'init','[]','{}','d1e70ff92aa7d0c6d9a1aa6e4be63e3c4f3b0bb323a249ada7aaed3cdfa195fd','{}','0222e53c8da90fa5d1eb8485abf18e90299f5f91f657da2c57d8336cce9fea0e','','','2026-11-23T04:23:38.570185Z','0000000000000000000000000000000000000000000000000000000000000000','4dac3eb3e678cd4b4780cf609f34b82591da90d95c1efd8a588b51610405a475');
INSERT INTO "entry" VALUES(2,1,'apply','[1]','{}','595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36','{"h.0.w":"595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36"}','f1b736777dd6b061fca851fc2a0b3b8541af96b221ed1c705347f60bc4368f0f','','','2026-11-23T04:23:38.600303Z','4dac3eb3e678cd4b4780cf609f34b82591da90d95c1efd8a588b51610405a475','48811fa3718801420b7f8f27835cac19095cb6c1a6ee5a85544e05ab5718b13a');
INSERT INTO "entry" VALUES(3,2,'apply','[2,3]','{}','ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf','{"h.0.w":"ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf"}','24f8ce3eec5b5c00ffd3adac4f03aca99f179ef638cb3ec32e784e2045c90c4c','','','2026-11-23T04:23:38.634905Z','48811fa3718801420b7f8f27835cac19095cb6c1a6ee5a85544e05ab5718b13a','6e818199abf93e37d783a6d216a678ed805a423b9b318349af91de6d8de2927b');
INSERT INTO "entry" VALUES(4,3,'revert','[1]','{}','6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf','{"h.0.w":"6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:38.647055Z','6e818199abf93e37d783a6d216a678ed805a423b9b318349af91de6d8de2927b','1f8cc2821c02690af6ca8f1f7982058efd7db5d090e40faa339eb70450092fdc');
INSERT INTO "entry" VALUES(5,4,'reapply','[1]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:38.650710Z','1f8cc2821c02690af6ca8f1f7982058efd7db5d090e40faa339eb70450092fdc','eea4462523378dce96ead75255c77a6efa10a0615251d3537afe7a090ee99f1d');
INSERT INTO "entry" VALUES(6,4,'reject','[4]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','7e020ecd48181251a558e4168525d9522b7a89bde75837f082e152a9e0c79d57','','','2026-11-23T04:23:38.675031Z','eea4462523378dce96ead75255c77a6efa10a0615251d3537afe7a090ee99f1d','03b83ec1b6e789a9c0bbfda31d01c27b6d25b6c1a6cc8c204f9104c788aabcbb');
INSERT INTO "entry" VALUES(7,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','ffb1decbee780eb89d1a60a19b9be11f9f8ace720d4fa21f53f4f74d836112a6','','','2026-11-23T04:23:38.686728Z','03b83ec1b6e789a9c0bbfda31d01c27b6d25b6c1a6cc8c204f9104c788aabcbb','4fdfee9205374021530cbc4ea5f00b98397edea2b7b0fd0348f73e9a5f3d3aa4');
INSERT INTO "entry" VALUES(8,4,'stats','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','2cf3fe82891b7748d06b4099a807849164debe50af4975d6dd13b96e9dba9582','','','2026-11-23T04:23:38.733007Z','4fdfee9205374021530cbc4ea5f00b98397edea2b7b0fd0348f73e9a5f3d3aa4','07e0afc3008f669c7bb3f643d473c7af9d8f6b5a0e6f28b6102b1bd4230bd9cd');
INSERT INTO "entry" VALUES(9,4,'test','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','8acf37f3ca4a19c395abd40a89a140c160d0ad7b327cc5fbc9c60b2559eddad6','','','2026-11-23T04:23:38.746667Z','07e0afc3008f669c7bb3f643d473c7af9d8f6b5a0e6f28b6102b1bd4230bd9cd','d074d73f84369be9e7df8958ccaf9747045904270c3bc8a262db0f1cac9bc2ec');
INSERT INTO "entry" VALUES(10,4,'release','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','a717e60b79c84fa971888a04483c95b34827d8dc510e576b22c2a0867333b251','','','2026-11-23T04:23:38.758422Z','d074d73f84369be9e7df8958ccaf9747045904270c3bc8a262db0f1cac9bc2ec','e7a0f6dbcc5c13ab01aee69243ad0a20aae9c3a86533d90a89357c90b8e03dd0');
INSERT INTO "entry" VALUES(11,4,'user','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','0bc6b4768f48115813d7a9621f87be8ad8610a32c432e21a331e3f111e859bd6','ann','welcome','2026-11-23T04:23:38.761971Z','e7a0f6dbcc5c13ab01aee69243ad0a20aae9c3a86533d90a89357c90b8e03dd0','55cee07d10799d3b72ab6e3df1a56cd6a00daa7fe890a2c6f9d490fce95b3ea7');
INSERT INTO "entry" VALUES(12,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','e3f8dac60bec883c174daeb9b1d7408026b70524db543b27959de2d1ab8d551a','','','2026-11-23T04:23:38.770766Z','55cee07d10799d3b72ab6e3df1a56cd6a00daa7fe890a2c6f9d490fce95b3ea7','2f9a1767818415c692f54a00fe85c6c7b6e0a412089b85442de1df66048950f7');
CREATE TABLE measurement (
	id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	edit_id INTEGER, 
	suite TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	protocol TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_measurement PRIMARY KEY (id), 
	CONSTRAINT fk_measurement_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_measurement_edit_id_edit FOREIGN KEY(edit_id) REFERENCES edit (id) ON DELETE RESTRICT
);
INSERT INTO "measurement" VALUES(1,1,1,'edit','efficacy',0.5,'p1','{"n":1}',2);
INSERT INTO "measurement" VALUES(2,1,NULL,'edit','efficacy',0.25,'p1','{"n":1}',2);
INSERT INTO "measurement" VALUES(3,4,NULL,'edit','efficacy',0.0,'p1','{"n":1}',6);
CREATE TABLE model (
	id INTEGER NOT NULL, 
	base_id TEXT NOT NULL, 
	revision TEXT, 
	path TEXT NOT NULL, 
	dtype TEXT NOT NULL, 
	device TEXT, 
	model_type TEXT NOT NULL, 
	base_digest TEXT NOT NULL, 
	config TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_model PRIMARY KEY (id), 
	CONSTRAINT fk_model_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "model" VALUES(1,'org/tiny','0000000000000000000000000000000000000000','models/tiny','F32','cpu','gpt2','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','{"files":{"model.safetensors":["cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2",123]},"seed":0}','2026-11-23T04:23:38.570185Z',1);
CREATE TABLE object (
	oid TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_object PRIMARY KEY (oid), 
	CONSTRAINT fk_object_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT ck_object_size CHECK (size >= 0)
);
INSERT INTO "object" VALUES('595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','delta',10,'2026-11-23T04:23:38.600303Z',2);
INSERT INTO "object" VALUES('9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','delta',15,'2026-11-23T04:23:38.634905Z',3);
INSERT INTO "object" VALUES('c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','delta',10,'2026-11-23T04:23:38.675031Z',6);
INSERT INTO "object" VALUES('72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','moment',6,'2026-11-23T04:23:38.733007Z',8);
INSERT INTO "object" VALUES('41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db','factor',6,'2026-11-23T04:23:38.733007Z',8);
INSERT INTO "object" VALUES('091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae','moment',8,'2026-11-23T04:23:38.733007Z',8);
CREATE TABLE prediction (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	protocol TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_prediction PRIMARY KEY (id), 
	CONSTRAINT fk_prediction_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_prediction_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT
);
INSERT INTO "prediction" VALUES(1,1,'p1','a','yes','{"logit":1.5}',9);
INSERT INTO "prediction" VALUES(2,1,'p1','b','yes','{"logit":1.5}',9);
CREATE TABLE release (
	id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	form TEXT NOT NULL, 
	target TEXT NOT NULL, 
	manifest TEXT NOT NULL, 
	merkle_root TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_release PRIMARY KEY (id), 
	CONSTRAINT fk_release_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "release" VALUES(1,1,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:38.758422Z',10);
INSERT INTO "release" VALUES(2,2,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:38.758422Z',10);
CREATE TABLE stats (
	id INTEGER NOT NULL, 
	base_digest TEXT NOT NULL, 
	parameter TEXT NOT NULL, 
	corpus TEXT NOT NULL, 
	corpus_sha256 TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	moment_oid TEXT NOT NULL, 
	factor_oid TEXT, 
	jitter FLOAT, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_stats PRIMARY KEY (id), 
	CONSTRAINT fk_stats_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_stats_moment_oid_object FOREIGN KEY(moment_oid) REFERENCES object (oid) ON DELETE RESTRICT, 
	CONSTRAINT fk_stats_factor_oid_object FOREIGN KEY(factor_oid) REFERENCES object (oid) ON DELETE RESTRICT
);
INSERT INTO "stats" VALUES(1,'cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','h.0.w','wiki','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1099511627776,'72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db',0.001,8);
INSERT INTO "stats" VALUES(2,'cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','h.1.w','wiki','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1099511627776,'091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae',NULL,NULL,8);
CREATE TABLE tag (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_tag PRIMARY KEY (id), 
	CONSTRAINT fk_tag_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "tag" VALUES(1,'v-one',1,7);
INSERT INTO "tag" VALUES(2,'v-one',NULL,12);
INSERT INTO "tag" VALUES(3,'v-two',4,12);
CREATE TABLE user (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	password_hash TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_user PRIMARY KEY (id), 
	CONSTRAINT fk_user_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "user" VALUES(1,'ann','editor','scrypt$secret','2026-11-23T04:23:38.761971Z',11);
INSERT INTO "user" VALUES(2,'bob','editor','scrypt$secret','2026-11-23T04:23:38.761971Z',11);
CREATE INDEX ix_tag_name ON tag (name);
CREATE INDEX ix_edit_hash ON edit (hash);
CREATE INDEX ix_edit_batch_id ON edit (batch_id);
CREATE INDEX ix_measurement_version ON measurement (version);
CREATE INDEX ix_measurement_edit_id ON measurement (edit_id);
CREATE INDEX ix_measurement_entry_seq ON measurement (entry_seq);
CREATE INDEX ix_prediction_model_id_protocol ON prediction (model_id, protocol);
CREATE INDEX ix_stats_base_digest_parameter ON stats (base_digest, parameter);
CREATE INDEX ix_user_name ON user (name);
CREATE TRIGGER entry_no_update BEFORE UPDATE ON "entry" BEGIN SELECT RAISE(ABORT, 'table entry is append-only'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON "entry" BEGIN SELECT RAISE(ABORT, 'table entry is append-only'); END;
CREATE TRIGGER entry_no_replace BEFORE INSERT ON "entry" WHEN EXISTS (SELECT 1 FROM "entry" WHERE seq = NEW.seq OR hash = NEW.hash OR prev_hash = NEW.prev_hash) BEGIN SELECT RAISE(ABORT, 'table entry is append-only'); END;
CREATE TRIGGER model_no_update BEFORE UPDATE ON "model" BEGIN SELECT RAISE(ABORT, 'table model is append-only'); END;
CREATE TRIGGER model_no_delete BEFORE DELETE ON "model" BEGIN SELECT RAISE(ABORT, 'table model is append-only'); END;
CREATE TRIGGER model_no_replace BEFORE INSERT ON "model" WHEN EXISTS (SELECT 1 FROM "model" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table model is append-only'); END;
CREATE TRIGGER base_tensor_no_update BEFORE UPDATE ON "base_tensor" BEGIN SELECT RAISE(ABORT, 'table base_tensor is append-only'); END;
CREATE TRIGGER base_tensor_no_delete BEFORE DELETE ON "base_tensor" BEGIN SELECT RAISE(ABORT, 'table base_tensor is append-only'); END;
CREATE TRIGGER base_tensor_no_replace BEFORE INSERT ON "base_tensor" WHEN EXISTS (SELECT 1 FROM "base_tensor" WHERE model_id = NEW.model_id AND parameter = NEW.parameter) BEGIN SELECT RAISE(ABORT, 'table base_tensor is append-only'); END;
CREATE TRIGGER object_no_update BEFORE UPDATE ON "object" BEGIN SELECT RAISE(ABORT, 'table object is append-only'); END;
CREATE TRIGGER object_no_delete BEFORE DELETE ON "object" BEGIN SELECT RAISE(ABORT, 'table object is append-only'); END;
CREATE TRIGGER object_no_replace BEFORE INSERT ON "object" WHEN EXISTS (SELECT 1 FROM "object" WHERE oid = NEW.oid) BEGIN SELECT RAISE(ABORT, 'table object is append-only'); END;
CREATE TRIGGER batch_no_update BEFORE UPDATE ON "batch" BEGIN SELECT RAISE(ABORT, 'table batch is append-only'); END;
CREATE TRIGGER batch_no_delete BEFORE DELETE ON "batch" BEGIN SELECT RAISE(ABORT, 'table batch is append-only'); END;
CREATE TRIGGER batch_no_replace BEFORE INSERT ON "batch" WHEN EXISTS (SELECT 1 FROM "batch" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table batch is append-only'); END;
CREATE TRIGGER edit_no_update BEFORE UPDATE ON "edit" BEGIN SELECT RAISE(ABORT, 'table edit is append-only'); END;
CREATE TRIGGER edit_no_delete BEFORE DELETE ON "edit" BEGIN SELECT RAISE(ABORT, 'table edit is append-only'); END;
CREATE TRIGGER edit_no_replace BEFORE INSERT ON "edit" WHEN EXISTS (SELECT 1 FROM "edit" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table edit is append-only'); END;
CREATE TRIGGER measurement_no_update BEFORE UPDATE ON "measurement" BEGIN SELECT RAISE(ABORT, 'table measurement is append-only'); END;
CREATE TRIGGER measurement_no_delete BEFORE DELETE ON "measurement" BEGIN SELECT RAISE(ABORT, 'table measurement is append-only'); END;
CREATE TRIGGER measurement_no_replace BEFORE INSERT ON "measurement" WHEN EXISTS (SELECT 1 FROM "measurement" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table measurement is append-only'); END;
CREATE TRIGGER prediction_no_update BEFORE UPDATE ON "prediction" BEGIN SELECT RAISE(ABORT, 'table prediction is append-only'); END;
CREATE TRIGGER prediction_no_delete BEFORE DELETE ON "prediction" BEGIN SELECT RAISE(ABORT, 'table prediction is append-only'); END;
CREATE TRIGGER prediction_no_replace BEFORE INSERT ON "prediction" WHEN EXISTS (SELECT 1 FROM "prediction" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table prediction is append-only'); END;
CREATE TRIGGER tag_no_update BEFORE UPDATE ON "tag" BEGIN SELECT RAISE(ABORT, 'table tag is append-only'); END;
CREATE TRIGGER tag_no_delete BEFORE DELETE ON "tag" BEGIN SELECT RAISE(ABORT, 'table tag is append-only'); END;
CREATE TRIGGER tag_no_replace BEFORE INSERT ON "tag" WHEN EXISTS (SELECT 1 FROM "tag" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table tag is append-only'); END;
CREATE TRIGGER stats_no_update BEFORE UPDATE ON "stats" BEGIN SELECT RAISE(ABORT, 'table stats is append-only'); END;
CREATE TRIGGER stats_no_delete BEFORE DELETE ON "stats" BEGIN SELECT RAISE(ABORT, 'table stats is append-only'); END;
CREATE TRIGGER stats_no_replace BEFORE INSERT ON "stats" WHEN EXISTS (SELECT 1 FROM "stats" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table stats is append-only'); END;
CREATE TRIGGER release_no_update BEFORE UPDATE ON "release" BEGIN SELECT RAISE(ABORT, 'table release is append-only'); END;
CREATE TRIGGER release_no_delete BEFORE DELETE ON "release" BEGIN SELECT RAISE(ABORT, 'table release is append-only'); END;
CREATE TRIGGER release_no_replace BEFORE INSERT ON "release" WHEN EXISTS (SELECT 1 FROM "release" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table release is append-only'); END;
CREATE TRIGGER user_no_update BEFORE UPDATE ON "user" BEGIN SELECT RAISE(ABORT, 'table user is append-only'); END;
CREATE TRIGGER user_no_delete BEFORE DELETE ON "user" BEGIN SELECT RAISE(ABORT, 'table user is append-only'); END;
CREATE TRIGGER user_no_replace BEFORE INSERT ON "user" WHEN EXISTS (SELECT 1 FROM "user" WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'table user is append-only'); END;
COMMIT;
