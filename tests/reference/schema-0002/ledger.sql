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
INSERT INTO "base_tensor" VALUES(1,'model.layers.0.mlp.down_proj.weight','model.layers.0.mlp.down_proj.weight','BF16','[2,3]','2328c17b4c0708f66a2564756f99231b75be056e80f3e8bf4f62e2da51e4dc71',2);
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
INSERT INTO "batch" VALUES(1,1,'7dcbd2571d20be931ce8569fbc0a8b2edc514c4aa01165f9d24a1e52f85f29bb','rome','[0]','{"v_lr":0.5}',0,'{}','{}','ada','','2026-01-02T03:04:05.000006Z',2);
INSERT INTO "batch" VALUES(2,1,'c185398995d279106c246b52eb78e6039ffde795007f582ee290bcf5b60e9e4e','rome','[0]','{"v_lr":0.5}',0,'{}','{}','ada','','2026-01-02T03:04:05.000006Z',3);
INSERT INTO "batch" VALUES(3,1,'39991e901559c327e9f9264fed1f13d67cc01748ce4fdaff1348441ed6fa529d','rome','[0]','{"v_lr":0.5}',0,'{}','{}','ada','','2026-01-02T03:04:05.000006Z',4);
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
INSERT INTO "edit" VALUES(1,1,0,'Ada Lovelace','{} was born in','Paris','London','{"neighbourhood":[],"paraphrases":[],"portability":[],"same_subject":[]}',NULL,'5d790aad4a022e9be49e554d10a050a42a0f5c4eb9f73fc3f84a2ac35963d546','2026-01-02T03:04:05.000006Z',2);
INSERT INTO "edit" VALUES(2,2,0,'Marie Curie','{} was born in','Paris','London','{"neighbourhood":[],"paraphrases":[],"portability":[],"same_subject":[]}',NULL,'b784e2e75a54eaa47dbdd4759af6f2fd1e5c9bf59f8c29d21b7db499fb353d2f','2026-01-02T03:04:05.000006Z',3);
INSERT INTO "edit" VALUES(3,3,0,'李白','{} was born in','Paris','London','{"neighbourhood":[],"paraphrases":[],"portability":[],"same_subject":[]}',NULL,'f738f65c285c9e9c3b8d21f6aeba394718efaf6e382d88fb1373743cb761d4cb','2026-01-02T03:04:05.000006Z',4);
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
INSERT INTO "entry" VALUES(1,0,'init','[]','{}','3d491f6abef9b7a94893c232c0c566f23fd18cee01806d2c3c71f316b6e0b0e8','{}','55f0f4a4a7abdfd295ebca8053a43b70e57f581dfb5370deb2eeb1f7fec42c23','ada','','2026-01-02T03:04:05.000006Z','0000000000000000000000000000000000000000000000000000000000000000','5d90f7227827f26346746f6d703ef93cd53e68c6841bec0006a84ef27da01929');
INSERT INTO "entry" VALUES(2,1,'apply','[1]','{"after":" Paris"}','b9c8143b1fff243710836694b288a0dac990ec5b838aed587fd7727926497f93','{"model.layers.0.mlp.down_proj.weight":"33851ed471745ebe784cebd3632e1157a7f0e233956d6f7f252d33ee077cb5c8"}','64c4560df8e19a8d55d8d02ea6393273fb069273a7ebbbe4860b809ea3b1722f','ada','','2026-01-02T03:04:05.000006Z','5d90f7227827f26346746f6d703ef93cd53e68c6841bec0006a84ef27da01929','c3918f880f78b8f88a14034b6c48841c05fd2f15c5c8e183b7b7fb851b80abc5');
INSERT INTO "entry" VALUES(3,2,'apply','[2]','{"after":" Paris"}','b6afba46dd212f70505f2b87ee07a71bf3b0992f263ac67ee77d960e13532350','{"model.layers.0.mlp.down_proj.weight":"05b8784212d8166295c5500f1891669121665a5ab73c08b8a12f8326dbaaf159"}','27205e267f61cee2c0999206bc06207b05d5c9ace72318195f028e416d5af341','ada','','2026-01-02T03:04:05.000006Z','c3918f880f78b8f88a14034b6c48841c05fd2f15c5c8e183b7b7fb851b80abc5','cd0ae40c35fae45fe8981dd7147eee15649182d6ab1ed39c0a105ae4008c8b3c');
INSERT INTO "entry" VALUES(4,3,'apply','[3]','{"after":" Paris"}','542b09d8548b33b3865925e749f6a600a0fa6eed39f40234983aa4ed31c8902b','{"model.layers.0.mlp.down_proj.weight":"c6c38f573b9e41cbf8d4eb98a292318ec0a264b01134174a3bae1e9d213c51af"}','5ad548c04750563a3fb907f2762a78ec6b1220f4209b61c297946febf85cda52','ada','','2026-01-02T03:04:05.000006Z','cd0ae40c35fae45fe8981dd7147eee15649182d6ab1ed39c0a105ae4008c8b3c','62eddde146f74bdab6af323b9272bdcbd2135094155940494f1d689561d14ee9');
INSERT INTO "entry" VALUES(5,4,'revert','[1]','{}','ac5ea53f59fa8ac748bfcb329bb75ff892771ce44c4eb6194bc59ceff8b3743a','{"model.layers.0.mlp.down_proj.weight":"5283088aba27ef8877ae51b67a26c216cea5ba4114b0a205ec4e8096c24ea559"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','ada','','2026-01-02T03:04:05.000006Z','62eddde146f74bdab6af323b9272bdcbd2135094155940494f1d689561d14ee9','e0839a919118c539a56dcc32a1acb6b30eaee63118f41b463c09186577c8dbbf');
INSERT INTO "entry" VALUES(6,5,'reapply','[1]','{}','542b09d8548b33b3865925e749f6a600a0fa6eed39f40234983aa4ed31c8902b','{"model.layers.0.mlp.down_proj.weight":"c6c38f573b9e41cbf8d4eb98a292318ec0a264b01134174a3bae1e9d213c51af"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','ada','','2026-01-02T03:04:05.000006Z','e0839a919118c539a56dcc32a1acb6b30eaee63118f41b463c09186577c8dbbf','4abaa846b404bd0ef782aa782ae8315781dc6ac2acb601cf24b7287fd6bb4122');
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
INSERT INTO "measurement" VALUES(1,1,1,'edit','reliability',1.0,'kel.eval/1','{}',2);
INSERT INTO "measurement" VALUES(2,2,2,'edit','reliability',1.0,'kel.eval/1','{}',3);
INSERT INTO "measurement" VALUES(3,3,3,'edit','reliability',1.0,'kel.eval/1','{}',4);
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
INSERT INTO "model" VALUES(1,'example',NULL,'base','bfloat16','cpu','llama','fa0a94fc25c1200cf473733ecadd33010890d49bfd472ebc54b99017eb788857','{"compute_dtype":"float32","files":{"config.json":{"sha256":"fd11fd11fceeb9df51a63f347cec3af4051d086fccb030e78777a83a4d3289e8","size":22},"model.safetensors":{"sha256":"fe8773d142835f10f484bfebbfff8ca9459cef54a6e2aa7ea60b6ea930d9d04c","size":112}},"probes":[],"seed":0}','2026-01-02T03:04:05.000006Z',1);
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
INSERT INTO "object" VALUES('7dcbd2571d20be931ce8569fbc0a8b2edc514c4aa01165f9d24a1e52f85f29bb','delta',616,'2026-01-02T03:04:05.000006Z',2);
INSERT INTO "object" VALUES('c185398995d279106c246b52eb78e6039ffde795007f582ee290bcf5b60e9e4e','delta',616,'2026-01-02T03:04:05.000006Z',3);
INSERT INTO "object" VALUES('39991e901559c327e9f9264fed1f13d67cc01748ce4fdaff1348441ed6fa529d','delta',616,'2026-01-02T03:04:05.000006Z',4);
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
CREATE TABLE tag (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_tag PRIMARY KEY (id), 
	CONSTRAINT fk_tag_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
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
