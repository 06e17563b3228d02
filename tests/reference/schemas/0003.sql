BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
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
INSERT INTO "batch" VALUES(1,1,'595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:41.550247Z',2);
INSERT INTO "batch" VALUES(2,1,'9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:41.583728Z',3);
INSERT INTO "batch" VALUES(3,1,'c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:41.612412Z',6);
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
	entry_seq INTEGER NOT NULL, valid_from TEXT, valid_until TEXT, source TEXT, 
	CONSTRAINT pk_edit PRIMARY KEY (id), 
	CONSTRAINT fk_edit_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_edit_batch_id_batch FOREIGN KEY(batch_id) REFERENCES batch (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_edit_id CHECK (id >= 1), 
	CONSTRAINT ck_edit_component CHECK (component >= 0)
);
INSERT INTO "edit" VALUES(1,1,0,'Rome','{} lies in','France','Italy','{"paraphrase":["where is Rome?"]}','en','469b337bc878479bbfedc2d3a946eebda10b1eac7a27c6678a001893fee2c68f','2026-11-23T04:23:41.550247Z',2,NULL,NULL,NULL);
INSERT INTO "edit" VALUES(2,2,0,'Oslo','{} lies in','France','Italy','{"paraphrase":["where is Oslo?"]}','en','36b8a62288008f9c8b373bfdba03ffdaf0d80ca6f32d3de97099e66aa5e3b942','2026-11-23T04:23:41.583728Z',3,NULL,NULL,NULL);
INSERT INTO "edit" VALUES(3,2,1,'Lima','{} lies in','France','Italy','{"paraphrase":["where is Lima?"]}','en','1212fb032e192fc876cde1a7075a18ef8aed085c44a7a5100d3769e17612b442','2026-11-23T04:23:41.583728Z',3,'2020-01-01','2021-12-31','the registry');
INSERT INTO "edit" VALUES(4,3,0,'Bern','{} lies in','France','Italy','{"paraphrase":["where is Bern?"]}','en','6d24b758fc5e5d1afdb00560649992d1edc330eea339230f9fecc702ed3e9531','2026-11-23T04:23:41.612412Z',6,NULL,NULL,NULL);
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
INSERT INTO "entry" VALUES(1,0,'init','[]','{}','d1e70ff92aa7d0c6d9a1aa6e4be63e3c4f3b0bb323a249ada7aaed3cdfa195fd','{}','c407124af3ab57dccb9b584a590d262e997902e4b716c82b2a22a63c9acb54a4','','','2026-11-23T04:23:41.510638Z','0000000000000000000000000000000000000000000000000000000000000000','6762b3cc09d7472428302ad32e45d4ea4d1b91a7930fc0c09e9c1dfa8682b96d');
INSERT INTO "entry" VALUES(2,1,'apply','[1]','{}','595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36','{"h.0.w":"595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36"}','ef8dd7fcd75e3735560823b17e055115acb37633b6a47c6bf3d6c69712c52202','','','2026-11-23T04:23:41.550247Z','6762b3cc09d7472428302ad32e45d4ea4d1b91a7930fc0c09e9c1dfa8682b96d','a416d10655b776da13e65aa91e7cb2ea7844c9db778f18d4664c7e04e6173a60');
INSERT INTO "entry" VALUES(3,2,'apply','[2,3]','{}','ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf','{"h.0.w":"ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf"}','a236140b5266d5eabe16dea298fd0ecf82fce9effc40f7f4711d191cd5a73538','','','2026-11-23T04:23:41.583728Z','a416d10655b776da13e65aa91e7cb2ea7844c9db778f18d4664c7e04e6173a60','1163bb4daec2eda8d1c27513b8c3cd9000ec3d47b1ea889d5a55aeddf2e04126');
INSERT INTO "entry" VALUES(4,3,'revert','[1]','{}','6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf','{"h.0.w":"6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:41.595049Z','1163bb4daec2eda8d1c27513b8c3cd9000ec3d47b1ea889d5a55aeddf2e04126','554ba0395e706d7f0f3e5c918ec3a0556f1b5a1f9dc1175ddaf13a5c0c622e99');
INSERT INTO "entry" VALUES(5,4,'reapply','[1]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:41.601452Z','554ba0395e706d7f0f3e5c918ec3a0556f1b5a1f9dc1175ddaf13a5c0c622e99','4118988141f52f0246910789dd9a5528a3249f02891ce20c394a9bf48c4fcd71');
INSERT INTO "entry" VALUES(6,4,'reject','[4]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','a4021426b6c85dd14529f1a87973c62f0beeb08fc4a7447683ee0d5e56adc35b','','','2026-11-23T04:23:41.612412Z','4118988141f52f0246910789dd9a5528a3249f02891ce20c394a9bf48c4fcd71','bd74a28de69daa4af79aab626a3f7a876a6a356c5b8c444f3b8a7ed9b5b6a155');
INSERT INTO "entry" VALUES(7,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','ffb1decbee780eb89d1a60a19b9be11f9f8ace720d4fa21f53f4f74d836112a6','','','2026-11-23T04:23:41.627818Z','bd74a28de69daa4af79aab626a3f7a876a6a356c5b8c444f3b8a7ed9b5b6a155','17afa2a7a33dc737c6fcbefa0ce8b8133e1bb5ddad0d8d7b00e22d46efeaf6c7');
INSERT INTO "entry" VALUES(8,4,'stats','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','fa34c97adb8fce9be58e6b9e0783115bb8cda9b9472badd51f2b2e32e97cebf3','','','2026-11-23T04:23:41.651544Z','17afa2a7a33dc737c6fcbefa0ce8b8133e1bb5ddad0d8d7b00e22d46efeaf6c7','1b6d16f065c743dbcd1737f432db8154edfaf4085a5c9a077560c52123aa2ec7');
INSERT INTO "entry" VALUES(9,4,'test','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','8acf37f3ca4a19c395abd40a89a140c160d0ad7b327cc5fbc9c60b2559eddad6','','','2026-11-23T04:23:41.666718Z','1b6d16f065c743dbcd1737f432db8154edfaf4085a5c9a077560c52123aa2ec7','0c6600a641c82f3a0788d7e37c8d925880b59bb862a03bfb01e6fb44050212f1');
INSERT INTO "entry" VALUES(10,4,'release','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','00b968ebbca90ac8c8448c64194bebe7ac5f8d2ae72f09cf72e3bd249f2230a9','','','2026-11-23T04:23:41.670981Z','0c6600a641c82f3a0788d7e37c8d925880b59bb862a03bfb01e6fb44050212f1','e506304a2594815827d01d5f5ed28c9cf781e3822de737d0bcdea43999c49808');
INSERT INTO "entry" VALUES(11,4,'user','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','a09d42d93d4b064268f607f0beac66b78ffda357d781d401baebdd0162168808','ann','welcome','2026-11-23T04:23:41.678296Z','e506304a2594815827d01d5f5ed28c9cf781e3822de737d0bcdea43999c49808','796b05681bd7e2b926a11e8ec9b38dbd4d13bef463cde7766e0b57092ca96346');
INSERT INTO "entry" VALUES(12,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','e3f8dac60bec883c174daeb9b1d7408026b70524db543b27959de2d1ab8d551a','','','2026-11-23T04:23:41.683348Z','796b05681bd7e2b926a11e8ec9b38dbd4d13bef463cde7766e0b57092ca96346','50598bb6ec078fd2ab1a2eb6cab21314f87b877c1adcbae16e487edfdfa799f2');
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
INSERT INTO "model" VALUES(1,'org/tiny','0000000000000000000000000000000000000000','models/tiny','F32','cpu','gpt2','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','{"files":{"model.safetensors":["cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2",123]},"seed":0}','2026-11-23T04:23:41.510638Z',1);
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
INSERT INTO "object" VALUES('595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','delta',10,'2026-11-23T04:23:41.550247Z',2);
INSERT INTO "object" VALUES('9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','delta',15,'2026-11-23T04:23:41.583728Z',3);
INSERT INTO "object" VALUES('c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','delta',10,'2026-11-23T04:23:41.612412Z',6);
INSERT INTO "object" VALUES('72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','moment',6,'2026-11-23T04:23:41.651544Z',8);
INSERT INTO "object" VALUES('41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db','factor',6,'2026-11-23T04:23:41.651544Z',8);
INSERT INTO "object" VALUES('091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae','moment',8,'2026-11-23T04:23:41.651544Z',8);
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
INSERT INTO "release" VALUES(1,1,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:41.670981Z',10);
INSERT INTO "release" VALUES(2,2,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:41.670981Z',10);
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
INSERT INTO "user" VALUES(1,'ann','editor','scrypt$secret','2026-11-23T04:23:41.678296Z',11);
INSERT INTO "user" VALUES(2,'bob','editor','scrypt$secret','2026-11-23T04:23:41.678296Z',11);
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
