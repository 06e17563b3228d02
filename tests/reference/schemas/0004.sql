BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE attempt (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_attempt PRIMARY KEY (id)
);
INSERT INTO "attempt" VALUES(1,'user ed',1795407825);
INSERT INTO "attempt" VALUES(2,'from ::1',1795407825);
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
INSERT INTO "batch" VALUES(1,1,'595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:44.938680Z',2);
INSERT INTO "batch" VALUES(2,1,'9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:44.950553Z',3);
INSERT INTO "batch" VALUES(3,1,'c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:44.966465Z',6);
CREATE TABLE credential (
	name TEXT NOT NULL, 
	password_hash TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	CONSTRAINT pk_credential PRIMARY KEY (name)
);
INSERT INTO "credential" VALUES('ed','$argon2id$v=19$m=8,t=1,p=1$H5z22EYJBsxGLWWgirQGVQ$91fSBZVrzwIi7SUWlkNsFhyWRRjZ+I7F4nrvMJOZ6VM',1795407825);
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
INSERT INTO "edit" VALUES(1,1,0,'Rome','{} lies in','France','Italy','{"paraphrase":["where is Rome?"]}','en','38979827edcc2e50719f261ca2ca97db9e78c40f8b9421439fa15aa4c819cb70','2026-11-23T04:23:44.938680Z',2,NULL,NULL,NULL);
INSERT INTO "edit" VALUES(2,2,0,'Oslo','{} lies in','France','Italy','{"paraphrase":["where is Oslo?"]}','en','a61c99f64d0d8f9f8ef2bb6784ca5b183ac48bc8b7bd038f95158302be6a4ee5','2026-11-23T04:23:44.950553Z',3,NULL,NULL,NULL);
INSERT INTO "edit" VALUES(3,2,1,'Lima','{} lies in','France','Italy','{"paraphrase":["where is Lima?"]}','en','01aae499aa14fb540848ab3b1d37690d656d845442d0d649d55038d02adf3919','2026-11-23T04:23:44.950553Z',3,'2020-01-01','2021-12-31','the registry');
INSERT INTO "edit" VALUES(4,3,0,'Bern','{} lies in','France','Italy','{"paraphrase":["where is Bern?"]}','en','6a3a149793b1c4d84735b660866c8fe65a1a427fb20859b2161acb490d8ec2f7','2026-11-23T04:23:44.966465Z',6,NULL,NULL,NULL);
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
INSERT INTO "entry" VALUES(1,0,'init','[]','{}','d1e70ff92aa7d0c6d9a1aa6e4be63e3c4f3b0bb323a249ada7aaed3cdfa195fd','{}','ba2e66bd7a7cb466e8091ea6cff555a6d04a5de8d507dd8f5118c7c03874e1f0','','','2026-11-23T04:23:44.919687Z','0000000000000000000000000000000000000000000000000000000000000000','a448d1f6730880c8ca0d4da70c3f41310686b4983ddfd3d3d23b22b1e033b361');
INSERT INTO "entry" VALUES(2,1,'apply','[1]','{}','595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36','{"h.0.w":"595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36"}','57da5d4727bb158c6626b4fe8dae521dade995f115b24762c4c82ddf98e58677','','','2026-11-23T04:23:44.938680Z','a448d1f6730880c8ca0d4da70c3f41310686b4983ddfd3d3d23b22b1e033b361','75e48486357dd361d38445a34033b92e9e46efc03402fe4f473c8769bea945f7');
INSERT INTO "entry" VALUES(3,2,'apply','[2,3]','{}','ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf','{"h.0.w":"ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf"}','7efb231d752c7861655225a9f610aa760e06124355ee280752304dcbeaeee47d','','','2026-11-23T04:23:44.950553Z','75e48486357dd361d38445a34033b92e9e46efc03402fe4f473c8769bea945f7','a4300cb9368333d73ad26b124e1f22af2056c27d3d7751aba5a3045d3bcfd430');
INSERT INTO "entry" VALUES(4,3,'revert','[1]','{}','6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf','{"h.0.w":"6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:44.955936Z','a4300cb9368333d73ad26b124e1f22af2056c27d3d7751aba5a3045d3bcfd430','b8d3110fb212b58150f5c4d8db48dc8633efd3ec5364d19aa889fa56e93cdf1f');
INSERT INTO "entry" VALUES(5,4,'reapply','[1]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:44.958579Z','b8d3110fb212b58150f5c4d8db48dc8633efd3ec5364d19aa889fa56e93cdf1f','7eb2799a3b07f18c492d5e7deadae46947bc147e08ed9ca01baba85d8dd04dfd');
INSERT INTO "entry" VALUES(6,4,'reject','[4]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','aa67dac62c0aa16abbd4a8308c5fb89f3bec2945f180a05d9c29bf0765802035','','','2026-11-23T04:23:44.966465Z','7eb2799a3b07f18c492d5e7deadae46947bc147e08ed9ca01baba85d8dd04dfd','b96b10f5403b1ac2c46a650414331c8fc36b9edbbe671f6455af937038abc921');
INSERT INTO "entry" VALUES(7,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','ffb1decbee780eb89d1a60a19b9be11f9f8ace720d4fa21f53f4f74d836112a6','','','2026-11-23T04:23:44.970987Z','b96b10f5403b1ac2c46a650414331c8fc36b9edbbe671f6455af937038abc921','3030c0fda5df072c6092960b82090df9ddc2710648969f7fc316481281ef9c64');
INSERT INTO "entry" VALUES(8,4,'stats','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','98d1f51228178cb5b1b8e9fe4f6735bc589e02d1e2a8508cf9ab68ee1d757c8f','','','2026-11-23T04:23:44.983858Z','3030c0fda5df072c6092960b82090df9ddc2710648969f7fc316481281ef9c64','b86fa0eb89b310370a224e022224da643d18ed8f590932462ba5650321a1c414');
INSERT INTO "entry" VALUES(9,4,'test','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','8acf37f3ca4a19c395abd40a89a140c160d0ad7b327cc5fbc9c60b2559eddad6','','','2026-11-23T04:23:44.992311Z','b86fa0eb89b310370a224e022224da643d18ed8f590932462ba5650321a1c414','f19f78bf7775bf59ad8f70c988c267566a5fdb6cf8490775c1b8010d3f292395');
INSERT INTO "entry" VALUES(10,4,'release','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','9a75b8b81c10826058a16e678642172242ffa17c96e40d0898ab3e6fd15eb6a1','','','2026-11-23T04:23:45.001719Z','f19f78bf7775bf59ad8f70c988c267566a5fdb6cf8490775c1b8010d3f292395','a27212c2b1660b9ffa26540a28e7bc26a267f27d6f4fa956eae46ab7ba253d64');
INSERT INTO "entry" VALUES(11,4,'user','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','6a07420d115c77b7c8f44f41f116d8ddd3ceb2b9f0016eb9421e1ebd8cc34112','ann','welcome','2026-11-23T04:23:45.005464Z','a27212c2b1660b9ffa26540a28e7bc26a267f27d6f4fa956eae46ab7ba253d64','51f48def0001e0e43b31dbb3a300db55ad6fae7716d35fcbd776729a65bb9d3e');
INSERT INTO "entry" VALUES(12,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','e3f8dac60bec883c174daeb9b1d7408026b70524db543b27959de2d1ab8d551a','','','2026-11-23T04:23:45.008636Z','51f48def0001e0e43b31dbb3a300db55ad6fae7716d35fcbd776729a65bb9d3e','f9a21fd3bda673ccbc9322a200137be56c1b562e179aceb13ec460ad1fa54e14');
INSERT INTO "entry" VALUES(13,4,'user','[]','{"name":"ed","role":"editor"}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','6810ab558e8d95b1d693c0823e58648c585062e6218e35f3136ae6736b05497c','root','','2026-11-23T04:23:45.028460Z','f9a21fd3bda673ccbc9322a200137be56c1b562e179aceb13ec460ad1fa54e14','ee8333ef474455884200f268a445cea5f90245a43a45dccd1a5e011215951afb');
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
INSERT INTO "model" VALUES(1,'org/tiny','0000000000000000000000000000000000000000','models/tiny','F32','cpu','gpt2','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','{"files":{"model.safetensors":["cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2",123]},"seed":0}','2026-11-23T04:23:44.919687Z',1);
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
INSERT INTO "object" VALUES('595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','delta',10,'2026-11-23T04:23:44.938680Z',2);
INSERT INTO "object" VALUES('9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','delta',15,'2026-11-23T04:23:44.950553Z',3);
INSERT INTO "object" VALUES('c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','delta',10,'2026-11-23T04:23:44.966465Z',6);
INSERT INTO "object" VALUES('72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','moment',6,'2026-11-23T04:23:44.983858Z',8);
INSERT INTO "object" VALUES('41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db','factor',6,'2026-11-23T04:23:44.983858Z',8);
INSERT INTO "object" VALUES('091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae','moment',8,'2026-11-23T04:23:44.983858Z',8);
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
CREATE TABLE proposal (
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	body TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	proposer TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	CONSTRAINT pk_proposal PRIMARY KEY (id)
);
INSERT INTO "proposal" VALUES('HidiwYjZwCwseBHb4NABkJxqX-cbOinfl2NZhKQ-a-Y','edit','{"subject": "Ada"}','b51eb7b4d0ec28d807b0cac2335be2a6f59f47cb2d75f1754dc393e8870ca29f','ed',1795407825,1795408125,'open');
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
INSERT INTO "release" VALUES(1,1,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:45.001719Z',10);
INSERT INTO "release" VALUES(2,2,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:45.001719Z',10);
CREATE TABLE session (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	CONSTRAINT pk_session PRIMARY KEY (id)
);
INSERT INTO "session" VALUES('88869ae7298eba5c672cb00866155201aa971bac6ed276c0140703e3093bce8d','ed',1795407825,1795407825);
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
CREATE TABLE token (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	label TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_token PRIMARY KEY (id)
);
INSERT INTO "token" VALUES('7db781ca9e6c46b09abdf3327ce752bd3918b0fbac2e3009c8d4603d39062b8b','ed','the lab','chat',1795407825);
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
INSERT INTO "user" VALUES(1,'ann','editor','scrypt$secret','2026-11-23T04:23:45.005464Z',11);
INSERT INTO "user" VALUES(2,'bob','editor','scrypt$secret','2026-11-23T04:23:45.005464Z',11);
INSERT INTO "user" VALUES(3,'ed','editor','','2026-11-23T04:23:45.028460Z',13);
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
CREATE INDEX ix_session_name ON session (name);
CREATE INDEX ix_token_name ON token (name);
CREATE INDEX ix_attempt_key ON attempt ("key");
COMMIT;
