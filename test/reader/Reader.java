import com.github.luben.zstd.Zstd;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.NamedParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.security.spec.XECPrivateKeySpec;
import java.security.spec.XECPublicKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.utils.BufferSupplier;

/**
 * A reader of Offsite repositories that shares no code with Offsite: it was written from docs/format.md alone, to show
 * that the page suffices. Kafka's jars lend it the decompressors.
 * What an encrypted repository needs, the JDK has. The environment variable READER_IDENTITY names the file of a reader's identity, READER_PUBLIC_KEY is the key that
 * entries must be signed with, if it is set.
 *
 * <pre>java -cp 'kafka/*' test/reader/Reader.java DIR [POINT [metadata|groups]]
 *java -cp 'kafka/*' test/reader/Reader.java DIR groups MILLIS</pre>
 *
 * It checks the whole repository and prints, as JSON lines, what a restore to a point (the newest one by default) yields: topics, records in
 * the order of topic name, partition and offset, and group offsets. Record bytes are hex, null is null. Exit code 1 and one line
 * that begins with the object's key mean damage, 2 bad use or no such point. With the word metadata it prints the cluster's metadata instead. With
 * the word groups it prints the group offsets that the log of groups, __consumer_offsets, tells, and wants the point to state the same; or what groups
 * had committed at a time between two points, in ms since 1970. It is a specification that runs, so it favours
 * plainness over speed: all it needs of an object is in memory at once.
 */
public final class Reader {
    static final int MIB = 1 << 20;
    static final int MAX_NUMBERS = 1 << 24;
    static final int MAX_BATCH = 128 * MIB;
    static final int MAX_TEXT = 64 * 1024;
    static final int MAX_TOPIC_NAME = 249;

    public static void main(String[] args) throws IOException {
        boolean atTime = args.length == 3 && args[1].equals("groups");
        if (args.length < 1 || args.length > 3 || args.length == 3 && !atTime && !args[2].equals("metadata") && !args[2].equals("groups")) {
            System.err.println("usage: Reader DIR [POINT [metadata|groups]] or Reader DIR groups MILLIS");
            System.exit(2);
        }
        try (PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8)) {
            Repository repository = Repository.open(Path.of(args[0]));
            if (atTime) {
                repository.checkSegments();
                Restore.printGroups(new GroupLog(repository).at(Long.parseLong(args[2])), out);
                return;
            }
            Entry point = args.length > 1 ? repository.point(Long.parseLong(args[1])) : repository.newestPoint();
            repository.checkSegments();
            Restore restore = new Restore(repository, repository.stateAfter(point.sequence), point, out);
            if (args.length < 3) {
                restore.print();
            } else if (args[2].equals("metadata")) {
                restore.printMetadata();
            } else {
                Restore.printGroups(new GroupLog(repository).check(point), out);
            }
        } catch (Damage e) {
            System.err.println(e.getMessage());
            System.exit(1);
        } catch (NoPoint e) {
            System.err.println(e.getMessage());
            System.exit(2);
        }
    }

    /** An object, named by its key, does not say what the format says it must. */
    @SuppressWarnings("serial")
    static final class Damage extends RuntimeException {
        Damage(String key, String what) {
            super(key + ": " + what);
        }
    }

    @SuppressWarnings("serial")
    static final class NoPoint extends RuntimeException {
        NoPoint(String what) {
            super(what);
        }
    }

    // ---- The repository: descriptor, log, segments ----

    static final class Repository {
        static final Pattern DESCRIPTOR = Pattern.compile("\\{\n  \"format\": ([0-9]+),\n  \"id\": \"([0-9a-f]{32})\",\n"
            + "  \"cluster\": \"[A-Za-z0-9_-]{1,64}\",\n  \"created\": \"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ\",\n"
            + "(  \"encryption\": \"age-x25519\",\n)?  \"sha256\": \"([0-9a-f]{64})\"\n\\}\n");
        static final Pattern LOG_KEY = Pattern.compile("log/([0-9]{8})/(\\1[0-9]{4})");

        final Path dir;
        byte[] id;
        boolean encrypted;
        Keys keys; // null if it is not encrypted
        final List<Entry> entries = new ArrayList<>();
        final State latest = new State(); // after all entries: it knows which points are deleted, and what was moved and removed

        private Repository(Path dir) {
            this.dir = dir;
        }

        static Repository open(Path dir) throws IOException {
            Repository r = new Repository(dir);
            byte[] previous = sha256(r.readDescriptor());
            List<String> log = r.listLog();
            if (r.encrypted && !log.isEmpty()) {
                r.keys = Keys.find(r, log);
            }
            for (String key : log) {
                byte[] object = r.read(key);
                Entry entry = Entry.parse(r, key, object, r.entries.size() + 1, previous);
                r.latest.apply(entry);
                r.entries.add(entry);
                previous = sha256(object);
            }
            return r;
        }

        private byte[] readDescriptor() throws IOException {
            String key = "repository.json";
            String text = new String(read(key), StandardCharsets.ISO_8859_1);
            Matcher m = DESCRIPTOR.matcher(text);
            check(m.matches(), key, "not of the exact shape");
            String zeroed = text.substring(0, m.start(4)) + "0".repeat(64) + text.substring(m.end(4));
            check(hex(sha256(zeroed.getBytes(StandardCharsets.ISO_8859_1))).equals(m.group(4)), key, "digest differs");
            check(m.group(1).equals("1"), key, "format " + m.group(1) + " is not known");
            id = HexFormat.of().parseHex(m.group(2));
            encrypted = m.group(3) != null;
            return text.getBytes(StandardCharsets.ISO_8859_1);
        }

        /** Returns the keys of all entries, which must be numbered from 1 without a gap. */
        private List<String> listLog() throws IOException {
            List<String> keys = new ArrayList<>();
            Path log = dir.resolve("log");
            if (!Files.exists(log)) {
                return keys;
            }
            try (Stream<Path> files = Files.walk(log)) {
                files.filter(Files::isRegularFile).map(f -> dir.relativize(f).toString().replace('\\', '/'))
                    .filter(key -> LOG_KEY.matcher(key).matches()).sorted().forEach(keys::add);
            }
            for (int i = 0; i < keys.size(); i++) {
                String want = logKey(i + 1);
                check(keys.get(i).equals(want), want, "missing, but there are later entries");
            }
            return keys;
        }

        static String logKey(long sequence) {
            String digits = String.format("%012d", sequence);
            return "log/" + digits.substring(0, 8) + "/" + digits;
        }

        byte[] read(String key) throws IOException {
            try {
                return Files.readAllBytes(dir.resolve(key));
            } catch (NoSuchFileException e) {
                throw new Damage(key, "missing");
            }
        }

        Entry point(long sequence) {
            if (!latest.points.containsKey(sequence)) {
                throw new NoPoint("entry " + sequence + " is no recovery point");
            }
            return entries.get((int) sequence - 1);
        }

        Entry newestPoint() {
            if (latest.points.isEmpty()) {
                throw new NoPoint("no recovery point");
            }
            return entries.get(latest.points.lastKey().intValue() - 1);
        }

        State stateAfter(long sequence) {
            State state = new State();
            entries.stream().limit(sequence).forEach(state::apply);
            state.streams.forEach(s -> s.moved = latest.streams.get(s.number).moved); // also by entries behind
            return state;
        }

        /** Calls the handler with each batch and the lowest offset that its block gives it. */
        void eachBatch(Piece p, BatchHandler handler) throws IOException {
            Span span = p.stored.span;
            if (span.why != null) {
                check(!p.needed, span.key, "offsets from " + p.stored.start + " on are lost: " + span.why);
                return;
            }
            if (latest.removed.contains(span.key)) {
                check(!p.needed, span.key, "removed, but offsets from " + p.stored.start + " on are needed");
                return;
            }
            for (Block block : p.stored.span.blocks) {
                byte[] object = read(block.key);
                for (Batch b : block.batches(object)) {
                    handler.handle(b, block.start);
                }
            }
        }

        /** Checks every segment in itself and against its entry, and hands the blocks to the entry's spans. */
        void checkSegments() throws IOException {
            State state = new State();
            Set<String> quarantined = latest.quarantined();
            for (Entry entry : entries) {
                state.apply(entry);
                List<Segment> segments = new ArrayList<>();
                for (SegmentRef ref : entry.segments) {
                    if (latest.removed.contains(ref.key) || quarantined.contains(ref.key)) {
                        segments.add(null); // its object may be deleted, or damaged
                        continue;
                    }
                    byte[] object = read(ref.key);
                    segments.add(Segment.parse(keys, ref, object));
                    segments.get(segments.size() - 1).checkBlocks(object);
                }
                Agreement.check(entry, state, segments);
            }
        }
    }

    // ---- Log entries ----

    static final class SegmentRef {
        String key;
        long size;
        long footerLength;
        byte[] footerDigest;
    }

    static final class TopicChange {
        int number;
        boolean gone;
        byte[] id;
        String name;
        long partitions;
        long replication;
        Map<String, Optional<String>> configs = new TreeMap<>();
    }

    static final class StreamStart {
        int topic;
        int partition;
        int parent; // -1: none
        long first;
    }

    /** What one entry adds to one stream. */
    static final class Range {
        int stream;
        Integer epoch; // null: as before
        List<Span> spans = new ArrayList<>();
        long start; // known once the entry is applied
    }

    static final class Span {
        int segment; // -1: a gap, -2: lost
        String key; // of the segment
        long offsets;
        long records;
        long maxTimestamp;
        long minTimestamp;
        List<Block> blocks = new ArrayList<>(); // once the segment is read
        String why; // it is lost
    }

    /** Data that is read from another segment from now on. */
    record Move(int stream, long start, Span span) {
        long next() {
            return start + span.offsets;
        }
    }

    /** Data that nobody can read any more, and the segment that held it. */
    record Loss(int stream, long start, Span span) {
        long next() {
            return start + span.offsets;
        }
    }

    static final class GroupChange {
        String id;
        boolean gone;
        String type;
        String protocol;
        List<OffsetChange> offsets = new ArrayList<>();
    }

    static final class OffsetChange {
        String topic;
        int partition;
        Commit commit; // null: no longer committed
    }

    record Commit(long offset, int epoch, String metadata) {}

    static final class Point {
        String name;
        long time;
        Map<Integer, Long> exceptions = new HashMap<>();
    }

    static final class Entry {
        static final byte[] MAGIC = magic("OFSLOG");
        static final int HEADER = 100;
        static final int DIGEST = 32;
        static final int SIGNATURE = 64;
        static final int MAX_BODY = 64 * MIB;

        String key;
        long sequence;
        String writer;
        long time;
        List<TopicChange> topics = new ArrayList<>();
        List<StreamStart> streams = new ArrayList<>();
        List<SegmentRef> segments = new ArrayList<>();
        List<Range> ranges = new ArrayList<>();
        Map<Integer, Long> logStarts = new TreeMap<>();
        List<GroupChange> groups = new ArrayList<>();
        Point point;
        Map<Long, Integer> pointChanges = new TreeMap<>(); // by id: bit 0 pinned, bit 1 deleted, bit 2 held
        List<Transaction> transactions = new ArrayList<>();
        Map<String, Optional<String>> metadata = new TreeMap<>(Reader::compareBytes);
        List<String> removed = new ArrayList<>(); // keys of segments
        List<String> deleted = new ArrayList<>();
        long movesBefore;
        List<Move> moves = new ArrayList<>();
        List<Loss> losses = new ArrayList<>();
        boolean archive;
        List<String> fences = new ArrayList<>(); // writers
        KeyStatement keys; // or null

        static Entry parse(Repository r, String key, byte[] signed, long sequence, byte[] previous) {
            byte[] object = unsigned(key, signed);
            int end = object.length - DIGEST;
            check(Arrays.equals(sha256(Arrays.copyOf(object, end)), Arrays.copyOfRange(object, end, object.length)), key, "digest differs");
            Keys.checkSignature(r.id, key, object, signed);
            ByteBuffer b = ByteBuffer.wrap(object);
            check(b.getLong(8) == sequence, key, "says to be entry " + Long.toUnsignedString(b.getLong(8)));
            check(Arrays.equals(Arrays.copyOfRange(object, 16, 48), previous), key, "does not follow the object before it");
            Entry e = new Entry();
            e.key = key;
            e.sequence = sequence;
            e.writer = hex(Arrays.copyOfRange(object, 64, 80));
            e.time = b.getLong(80);
            byte[] stored = stored(key, object);
            if (sealed(object)) {
                check(r.keys != null, key, "sealed, in a repository that is not encrypted");
                stored = r.keys.openEntry(key, object, stored, r.latest);
            }
            byte[] body = body(key, object, stored);
            e.parseBody(body);
            check(sealed(object) == (r.encrypted && e.keys == null), key, "sealed, or not, as it must not be");
            if (e.keys != null) {
                check(r.encrypted && body[0] == 16, key, "more than keys is not sealed");
                r.keys.check(e, previous, r.latest);
            }
            return e;
        }

        /** Returns the object without its signature, if it has one. */
        static byte[] unsigned(String key, byte[] object) {
            check(object.length >= HEADER + DIGEST, key, "shorter than an empty entry");
            check(startsWith(object, MAGIC), key, "magic differs");
            if ((flags(object) & 4) == 0) {
                return object;
            }
            check(object.length >= HEADER + DIGEST + SIGNATURE, key, "shorter than an empty entry");
            return Arrays.copyOf(object, object.length - SIGNATURE);
        }

        static int flags(byte[] object) {
            return ByteBuffer.wrap(object).getInt(88);
        }

        static boolean sealed(byte[] object) {
            return (flags(object) & 2) != 0;
        }

        static byte[] stored(String key, byte[] object) {
            check(u32(ByteBuffer.wrap(object).getInt(96)) == object.length - HEADER - DIGEST, key, "stored body length differs");
            check((flags(object) & 0xfff8) == 0 && (sealed(object) || flags(object) >>> 16 == 0), key, "unknown flags");
            return Arrays.copyOfRange(object, HEADER, object.length - DIGEST);
        }

        static byte[] body(String key, byte[] object, byte[] stored) {
            long rawLength = u32(ByteBuffer.wrap(object).getInt(92));
            check(rawLength <= MAX_BODY, key, "body longer than allowed");
            if ((flags(object) & 1) == 1) {
                return unzstd(key, stored, rawLength);
            }
            check(rawLength == stored.length, key, "raw body length differs");
            return stored;
        }

        private void parseBody(byte[] body) {
            Decoder d = new Decoder(key, body);
            int last = 0;
            while (d.remaining() > 0) {
                int type = d.u8();
                check(type > last, key, "sections do not ascend");
                last = type;
                Decoder section = d.nested();
                if (type <= 128) {
                    parseSection(type, section);
                    section.end();
                }
            }
        }

        private void parseSection(int type, Decoder d) {
            switch (type) {
                case 1 -> parseAgent(d);
                case 2 -> d.repeatSome(() -> topics.add(parseTopic(d)));
                case 3 -> d.repeatSome(() -> streams.add(parseStream(d)));
                case 4 -> d.repeatSome(() -> segments.add(parseSegment(d)));
                case 5 -> parseRanges(d);
                case 6 -> parseLogStarts(d);
                case 7 -> parseGroups(d);
                case 8 -> parsePoint(d);
                case 9 -> d.repeatSome(() -> transactions.add(parseTransaction(d)));
                case 10 -> parsePointChanges(d);
                case 11 -> parseMetadata(d);
                case 12 -> parseLot(d, removed);
                case 13 -> parseMoves(d);
                case 14 -> parseFences(d);
                case 15 -> parseLot(d, deleted);
                case 16 -> keys = KeyStatement.parse(d);
                case 17 -> parseLosses(d);
                case 128 -> parseClosing(d);
                case 132 -> parsePromotion(d);
                default -> throw new Damage(key, "unknown section " + type);
            }
        }

        private void parseLot(Decoder d, List<String> keys) {
            String[] last = {""};
            d.repeatSome(() -> {
                String by = hex(d.bytes(16));
                check(by.compareTo(last[0]) > 0, key, "writers do not ascend");
                last[0] = by;
                long[] next = {0}; // the least counter that a run may begin with
                d.repeatSome(() -> {
                    long from = d.sum(next[0], d.uv());
                    long end = d.sum(from, d.atMost(1L << 40) + 1);
                    for (long counter = from; counter < end; counter++) {
                        keys.add(segmentKey(by, counter));
                    }
                    next[0] = end + 1;
                });
            });
            d.atMost(Long.MAX_VALUE); // their bytes
        }

        static String segmentKey(String writer, long counter) {
            return "data/" + writer + "/" + String.format("%08d", counter);
        }

        private void parseMoves(Decoder d) {
            movesBefore = d.atMost(Long.MAX_VALUE);
            d.repeatSome(() -> {
                Move last = moves.isEmpty() ? null : moves.get(moves.size() - 1);
                int stream = d.below((last == null ? 0 : last.stream) + d.atMost(MAX_NUMBERS), MAX_NUMBERS);
                long start = d.sum(last != null && last.stream == stream ? last.next() : 0, d.uv());
                Span span = parseSpan(d);
                check(span.segment >= 0, key, "a gap is moved");
                moves.add(new Move(stream, start, span));
            });
        }

        private void parseLosses(Decoder d) {
            long before = d.atMost(Long.MAX_VALUE);
            check(moves.isEmpty() || before == movesBefore, key, "moves and losses do not know the same entry");
            movesBefore = before;
            d.repeatSome(() -> {
                Loss last = losses.isEmpty() ? null : losses.get(losses.size() - 1);
                int stream = d.below((last == null ? 0 : last.stream) + d.atMost(MAX_NUMBERS), MAX_NUMBERS);
                long start = d.sum(last != null && last.stream == stream ? last.next() : 0, d.uv());
                Span s = new Span();
                s.segment = -2;
                s.offsets = d.positive();
                s.records = s.offsets - d.sv();
                check(s.records >= 0, key, "negative count of records");
                if (s.records > 0) {
                    s.maxTimestamp = d.sv();
                    s.minTimestamp = s.maxTimestamp - d.uv();
                }
                d.epoch();
                String writer = hex(d.bytes(16));
                s.key = segmentKey(writer, d.uv());
                s.why = d.str(1024);
                losses.add(new Loss(stream, start, s));
            });
        }

        private void parsePromotion(Decoder d) {
            d.bytes(32);
            archive = d.flag();
        }

        private void parseFences(Decoder d) {
            d.repeatSome(() -> {
                String by = hex(d.bytes(16));
                check(fences.isEmpty() || by.compareTo(fences.get(fences.size() - 1)) > 0, key, "writers do not ascend");
                fences.add(by);
            });
        }

        private void parseClosing(Decoder d) {
            check(point != null, key, "transactions closed without a point");
            d.atMost(Long.MAX_VALUE);
            d.positive();
            d.atMost(Long.MAX_VALUE);
        }

        private static void parseAgent(Decoder d) {
            d.str(MAX_TEXT);
            d.str(MAX_TEXT);
            d.str(MAX_TEXT);
        }

        private TopicChange parseTopic(Decoder d) {
            TopicChange t = new TopicChange();
            t.number = d.number();
            t.gone = d.flag();
            t.id = d.bytes(16);
            t.name = d.str(MAX_TOPIC_NAME);
            t.partitions = d.atMost(MAX_NUMBERS);
            t.replication = d.atMost(1 << 15);
            String[] last = {null};
            d.repeat(() -> {
                String name = d.str(1024);
                check(last[0] == null || compareBytes(last[0], name) < 0, key, "configs do not ascend");
                last[0] = name;
                t.configs.put(name, d.opt(MIB));
            });
            return t;
        }

        private StreamStart parseStream(Decoder d) {
            StreamStart s = new StreamStart();
            s.topic = d.number();
            s.partition = (int) d.atMost(Integer.MAX_VALUE);
            s.parent = (int) d.atMost(MAX_NUMBERS) - 1;
            s.first = d.offset();
            return s;
        }

        private SegmentRef parseSegment(Decoder d) {
            SegmentRef s = new SegmentRef();
            s.key = segmentKey(writer, d.atMost(Long.MAX_VALUE));
            s.size = d.atMost(Long.MAX_VALUE);
            s.footerLength = d.atMost(Segment.MAX_FOOTER);
            s.footerDigest = d.bytes(32);
            return s;
        }

        private void parseRanges(Decoder d) {
            int[] last = {-1};
            d.repeatSome(() -> {
                long head = d.atMost(4L * MAX_NUMBERS);
                Range r = new Range();
                r.stream = d.below(last[0] + 1 + head / 4, MAX_NUMBERS);
                last[0] = r.stream;
                if ((head & 1) != 0) {
                    r.epoch = d.epoch();
                }
                if ((head & 2) == 0) {
                    r.spans.add(parseData(d, 0));
                } else {
                    d.repeatSome(() -> r.spans.add(parseSpan(d)));
                    check(r.spans.size() > 1 || r.spans.get(0).segment != 0, key, "list of spans where none is needed");
                }
                ranges.add(r);
            });
        }

        private Span parseSpan(Decoder d) {
            long tag = d.atMost(2L * MAX_NUMBERS + 1);
            if ((tag & 1) == 0) {
                return parseData(d, (int) (tag / 2));
            }
            check(tag / 2 <= 1, key, "unknown reason of a gap");
            Span gap = new Span();
            gap.segment = -1;
            gap.offsets = d.positive();
            return gap;
        }

        private Span parseData(Decoder d, int segment) {
            check(segment < segments.size(), key, "range in a segment that the entry does not name");
            Span s = new Span();
            s.segment = segment;
            s.key = segments.get(segment).key;
            s.offsets = d.positive();
            s.records = s.offsets - d.sv();
            check(s.records >= 0, key, "negative count of records");
            if (s.records > 0) {
                s.maxTimestamp = time + d.sv();
                s.minTimestamp = s.maxTimestamp - d.uv();
            }
            return s;
        }

        private void parseLogStarts(Decoder d) {
            d.repeatNumbered(number -> logStarts.put(number, d.offset()));
            check(!logStarts.isEmpty(), key, "section without content");
        }

        private void parseGroups(Decoder d) {
            d.repeatSome(() -> {
                GroupChange g = new GroupChange();
                g.id = d.str(MAX_TEXT);
                check(groups.isEmpty() || compareBytes(groups.get(groups.size() - 1).id, g.id) < 0, key, "groups do not ascend");
                groups.add(g);
                g.gone = d.flag();
                if (!g.gone) {
                    g.type = d.str(MAX_TEXT);
                    check(List.of("classic", "consumer", "streams", "share", "").contains(g.type), key, "unknown group type " + g.type);
                    g.protocol = d.str(MAX_TEXT);
                    d.repeat(() -> parseOffset(d, g.offsets));
                }
            });
        }

        private void parseOffset(Decoder d, List<OffsetChange> offsets) {
            OffsetChange o = new OffsetChange();
            o.topic = d.str(MAX_TOPIC_NAME);
            o.partition = (int) d.atMost(Integer.MAX_VALUE);
            long tag = d.uv();
            if (tag != 0) {
                check(tag > 0, key, "offset beyond the limit");
                o.commit = new Commit(tag - 1, d.epoch(), d.str(MAX_TEXT));
            }
            if (!offsets.isEmpty()) {
                OffsetChange last = offsets.get(offsets.size() - 1);
                int order = compareBytes(last.topic, o.topic);
                check(order < 0 || order == 0 && last.partition < o.partition, key, "offsets of a group do not ascend");
            }
            offsets.add(o);
        }

        private Transaction parseTransaction(Decoder d) {
            Transaction last = transactions.isEmpty() ? null : transactions.get(transactions.size() - 1);
            Transaction t = new Transaction();
            t.stream = d.below((last == null ? 0 : last.stream) + d.atMost(MAX_NUMBERS), MAX_NUMBERS);
            t.kind = d.u8();
            t.producer = d.sv();
            d.between(Short.MIN_VALUE, Short.MAX_VALUE);
            t.offset = d.offset();
            check(t.kind <= 2, key, "unknown kind of transaction " + t.kind);
            check(t.kind == 0 || point != null, key, "a transaction of kind " + t.kind + " without a point");
            check(last == null || last.stream < t.stream || last.producer < t.producer || last.producer == t.producer && last.kind < 2 && t.kind == 2,
                key, "transactions do not ascend");
            return t;
        }

        private void parsePoint(Decoder d) {
            point = new Point();
            point.name = d.str(MAX_TEXT);
            point.time = d.i64();
            d.repeatNumbered(number -> point.exceptions.put(number, d.uv()));
        }

        private void parsePointChanges(Decoder d) {
            long[] last = {0}; // there is no entry 0
            d.repeatSome(() -> {
                long id = d.uv();
                check(Long.compareUnsigned(last[0], id) < 0, key, "changed points do not ascend");
                last[0] = id;
                int flags = d.u8();
                check(flags == 2 || (flags & ~5) == 0, key, "flags of a point: " + flags);
                pointChanges.put(id, flags);
            });
        }

        private void parseMetadata(Decoder d) {
            String[] last = {null};
            d.repeatSome(() -> {
                String kind = d.str(MAX_TEXT);
                check(last[0] == null || compareBytes(last[0], kind) < 0, key, "kinds of metadata do not ascend");
                last[0] = kind;
                metadata.put(kind, d.utf8(16 * MIB));
            });
        }
    }

    static final class Transaction {
        int stream;
        int kind; // 0 open, 1 decided, 2 undone
        long producer;
        long offset;
    }

    // ---- The state that a prefix of the log builds ----

    static final class Topic {
        byte[] id;
        String name;
        TopicChange current;
        Map<Integer, StreamState> newest = new TreeMap<>(); // by partition: the youngest branch

        /** Says whether this is the source's own log of group offsets, which is no topic to restore. */
        boolean isGroupLog() {
            return name.equals("__consumer_offsets");
        }
    }

    static final class StreamState {
        Topic topic;
        int partition;
        int number;
        StreamState parent;
        StreamState child;
        long first;
        long position;
        int epoch = -1;
        long logStart;
        List<Stored> data = new ArrayList<>();
        TreeMap<Long, Stored> moved = new TreeMap<>(); // ranges in force, by their start
    }

    /** One data span with its place. */
    record Stored(Span span, long start, long next) {}

    static final class Group {
        String type;
        String protocol;
        Map<String, Map<Integer, Commit>> offsets = new TreeMap<>();

        boolean says(Group other) {
            return type.equals(other.type) && protocol.equals(other.protocol) && offsets.equals(other.offsets);
        }
    }

    /** A recovery point that is not deleted. */
    record KnownPoint(String name, int flags) {}

    static final class State {
        List<Topic> topics = new ArrayList<>();
        List<StreamState> streams = new ArrayList<>();
        Map<String, Group> groups = new TreeMap<>();
        TreeMap<Long, KnownPoint> points = new TreeMap<>(); // by id
        Map<String, Optional<String>> metadata = new TreeMap<>(Reader::compareBytes);
        Set<String> named = new HashSet<>(); // segments
        Set<String> removed = new HashSet<>();
        Set<String> deleted = new HashSet<>();
        Set<String> fenced = new HashSet<>(); // writers
        long lastMoves;
        List<Generation> generations = List.of();
        long lastKeys;

        void apply(Entry e) {
            if (e.keys != null) {
                generations = e.keys.generations;
                lastKeys = e.sequence;
            }
            check(!fenced.contains(e.writer), e.key, "its writer was fenced");
            Set<String> before = new HashSet<>(named);
            e.segments.forEach(s -> check(named.add(s.key), e.key, "segment " + s.key + " is named twice"));
            e.deleted.forEach(key -> check(removed.contains(key) && deleted.add(key), e.key, "segment " + key + " is deleted before it is removed, or twice"));
            e.removed.forEach(key -> check(before.contains(key) && removed.add(key), e.key, "segment " + key + " is removed and was not named, or was removed"));
            e.fences.forEach(writer -> check(!writer.equals(e.writer) && fenced.add(writer), e.key, "writer " + writer + " may not be fenced"));
            applyMoves(e);
            e.topics.forEach(t -> applyTopic(e.key, t));
            checkNames(e.key);
            e.streams.forEach(s -> applyStream(e.key, s));
            e.ranges.forEach(r -> applyRange(e, r));
            e.logStarts.forEach((number, start) -> stream(e.key, number).logStart = start);
            e.groups.forEach(this::applyGroup);
            metadata.putAll(e.metadata);
            for (Transaction t : e.transactions) {
                check(t.offset < stream(e.key, t.stream).position, e.key, "a transaction beyond the position of stream " + t.stream);
            }
            if (e.point != null) {
                addPoint(e);
                e.point.exceptions.forEach((number, less) -> {
                    StreamState s = stream(e.key, number);
                    check(less >= 0 && less <= s.position, e.key, "cut of stream " + number + " out of bounds");
                });
            }
            e.pointChanges.forEach((id, flags) -> changePoint(e, id, flags));
        }

        /** Puts the ranges in the place of what they replace as a whole, alone or together with those beside them. */
        private void applyMoves(Entry e) {
            if (e.moves.isEmpty() && e.losses.isEmpty()) {
                return;
            }
            check(e.movesBefore == lastMoves, e.key, "it does not know the moves of entry " + lastMoves);
            lastMoves = e.sequence;
            Map<Integer, TreeMap<Long, Stored>> ranges = new TreeMap<>(); // by stream
            e.moves.forEach(m -> addRange(e, ranges, m.stream, new Stored(m.span, m.start, m.next())));
            for (Loss l : e.losses) {
                check(named.contains(l.span.key) && !removed.contains(l.span.key), e.key, "a loss in a segment that is not there: " + l.span.key);
                addRange(e, ranges, l.stream, new Stored(l.span, l.start, l.next()));
            }
            ranges.forEach((number, own) -> replace(e, number, own));
        }

        private static void addRange(Entry e, Map<Integer, TreeMap<Long, Stored>> ranges, int stream, Stored x) {
            TreeMap<Long, Stored> own = ranges.computeIfAbsent(stream, n -> new TreeMap<>());
            Map.Entry<Long, Stored> before = own.lowerEntry(x.next);
            check(before == null || before.getValue().next <= x.start, e.key, "two ranges of stream " + stream + " overlap at " + x.start);
            own.put(x.start, x);
        }

        private void replace(Entry e, int number, TreeMap<Long, Stored> ranges) {
            StreamState s = stream(e.key, number);
            TreeMap<Long, Long> whole = new TreeMap<>(); // ends of ranges beside each other, by their start
            for (Stored x : ranges.values()) {
                Map.Entry<Long, Long> before = whole.lastEntry();
                whole.put(before != null && before.getValue() == x.start ? before.getKey() : x.start, x.next);
            }
            Set<Long> gone = new HashSet<>();
            whole.forEach((start, next) -> {
                long at = start;
                for (Stored x : Restore.where(s)) {
                    if (x.next > start && x.start < next) {
                        check(x.start == at && x.next <= next, e.key, "a move of stream " + number + " at " + start + " does not end where data does");
                        at = x.next;
                        gone.add(x.start);
                    }
                }
                check(at == next, e.key, "a move of stream " + number + " at " + start + " of what is not there");
            });
            TreeMap<Long, Stored> now = new TreeMap<>(s.moved);
            now.keySet().removeAll(gone);
            now.putAll(ranges);
            s.moved = now;
        }

        /** Returns the keys of the segments of which something is lost: nothing is read from them any more. */
        Set<String> quarantined() {
            Set<String> keys = new HashSet<>();
            streams.forEach(s -> s.moved.values().stream().filter(x -> x.span.segment == -2).forEach(x -> keys.add(x.span.key)));
            return keys;
        }

        private void addPoint(Entry e) {
            String name = e.point.name;
            if (!name.isEmpty()) {
                check(name.matches("[A-Za-z0-9._-]{1,128}") && !name.matches("[0-9]+") && !name.equals("latest"), e.key, "no name for a point: " + name);
                check(points.values().stream().noneMatch(p -> p.name.equals(name)), e.key, "two points are called " + name);
            }
            points.put(e.sequence, new KnownPoint(name, 0));
        }

        private void changePoint(Entry e, long id, int flags) {
            KnownPoint p = points.get(id);
            check(p != null && id != e.sequence, e.key, "entry " + Long.toUnsignedString(id) + " is no point that can be changed");
            check(flags == 2 ? p.flags == 0 || e.archive : p.flags != flags, e.key, "a change of point " + id + " that is not allowed, or none");
            if (flags == 2) {
                points.remove(id);
            } else {
                points.put(id, new KnownPoint(p.name, flags));
            }
        }

        private void applyTopic(String key, TopicChange t) {
            check(t.number <= topics.size(), key, "topic number " + t.number + " skips one");
            if (t.number == topics.size()) {
                check(topics.stream().noneMatch(x -> Arrays.equals(x.id, t.id)), key, "two topics have one id");
                Topic added = new Topic();
                added.id = t.id;
                added.name = t.name;
                topics.add(added);
            }
            Topic topic = topics.get(t.number);
            check(Arrays.equals(topic.id, t.id) && topic.name.equals(t.name), key, "topic " + t.number + " changes its identity");
            check(topic.current == null || topic.current.partitions <= t.partitions, key, "topic " + t.number + " has fewer partitions");
            topic.current = t;
        }

        private void checkNames(String key) {
            List<String> names = topics.stream().filter(t -> !t.current.gone).map(t -> t.name).toList();
            check(names.size() == names.stream().distinct().count(), key, "two topics have one name");
        }

        private void applyStream(String key, StreamStart s) {
            check(s.topic < topics.size(), key, "stream of an unknown topic");
            check(streams.size() < MAX_NUMBERS, key, "too many streams");
            StreamState added = new StreamState();
            added.topic = topics.get(s.topic);
            added.partition = s.partition;
            added.number = streams.size();
            added.first = added.position = s.first;
            if (s.parent < 0) {
                check(!added.topic.newest.containsKey(s.partition), key, "stream exists");
            } else {
                StreamState parent = stream(key, s.parent);
                check(parent.topic == added.topic && parent.partition == s.partition && parent.child == null, key, "branch of a wrong parent");
                parent.child = added;
                added.parent = parent;
                added.logStart = parent.logStart;
            }
            added.topic.newest.put(s.partition, added);
            streams.add(added);
        }

        private void applyRange(Entry e, Range r) {
            StreamState s = stream(e.key, r.stream);
            check(s.child == null, e.key, "range for stream " + r.stream + ", which ended");
            r.start = s.position;
            for (Span span : r.spans) {
                check(span.offsets < Long.MAX_VALUE - s.position, e.key, "offset beyond the limit");
                if (span.segment >= 0) {
                    s.data.add(new Stored(span, s.position, s.position + span.offsets));
                }
                s.position += span.offsets;
            }
            s.epoch = r.epoch == null ? s.epoch : r.epoch;
        }

        private void applyGroup(GroupChange change) {
            if (change.gone) {
                groups.remove(change.id);
                return;
            }
            Group g = groups.computeIfAbsent(change.id, id -> new Group());
            g.type = change.type;
            g.protocol = change.protocol;
            for (OffsetChange o : change.offsets) {
                Map<Integer, Commit> partitions = g.offsets.computeIfAbsent(o.topic, t -> new TreeMap<>());
                if (o.commit != null) {
                    partitions.put(o.partition, o.commit);
                } else if (partitions.remove(o.partition) != null && partitions.isEmpty()) {
                    g.offsets.remove(o.topic);
                }
            }
        }

        StreamState stream(String key, int number) {
            check(number < streams.size(), key, "unknown stream " + number);
            return streams.get(number);
        }
    }

    // ---- Segments ----

    static final class Event {
        long offset;
        int kind; // 0 data, 1 commit, 2 abort
        long producer;
        int epoch;
    }

    static final class Block {
        String key;
        long position;
        int codec;
        long stored;
        long raw;
        long served; // what its batches had as the broker served them
        long start;
        long next;
        long batches;
        long records;
        long maxTimestamp;
        long minTimestamp;
        int epoch;
        boolean plain;
        List<Event> events = new ArrayList<>();
        byte[] digest;
        Keys keys; // null if it is not sealed
        DataKey dataKey;
        long number;
        byte[] topic;
        int partition;

        /** Returns the batches. */
        List<Batch> batches(byte[] object) {
            byte[] all = bytes(object);
            return codec == 2 ? Batch.splitReencoded(key, all, served) : Batch.split(key, all);
        }

        private byte[] bytes(byte[] object) {
            byte[] part = Arrays.copyOfRange(object, (int) position, (int) (position + stored));
            check(Arrays.equals(sha256(part), digest), key, "digest of the block at " + position + " differs");
            if (keys != null) {
                part = keys.openBlock(this, part);
            }
            return codec == 0 ? part : unzstd(key, part, raw);
        }
    }

    static final class SegmentStream {
        byte[] topic;
        String name;
        int partition;
        List<Block> blocks = new ArrayList<>();

        String id() {
            return streamId(topic, name, partition);
        }
    }

    static String streamId(byte[] topic, String name, int partition) {
        return hex(topic) + "/" + name + "/" + partition;
    }

    static final class Segment {
        static final byte[] MAGIC = magic("OFSSEG");
        static final byte[] END = magic("OFSEND");
        static final int TRAILER = 16;
        static final int MAX_FOOTER = 64 * MIB;
        static final int MAX_BLOCK = 256 * MIB;

        String key;
        List<SegmentStream> streams = new ArrayList<>();

        static Segment parse(Keys keys, SegmentRef ref, byte[] object) {
            String key = ref.key;
            check(object.length == ref.size, key, "has " + object.length + " bytes instead of " + ref.size);
            check(ref.footerLength <= ref.size - MAGIC.length - TRAILER, key, "footer longer than the object");
            check(startsWith(object, MAGIC), key, "magic differs");
            int end = object.length - TRAILER;
            check(Arrays.equals(Arrays.copyOfRange(object, end + 8, object.length), END), key, "end magic differs");
            ByteBuffer trailer = ByteBuffer.wrap(object, end, TRAILER);
            check(u32(trailer.getInt()) == ref.footerLength, key, "footer length differs");
            int from = end - (int) ref.footerLength;
            byte[] footer = Arrays.copyOfRange(object, from, end);
            check(crc32c(footer, 0) == trailer.getInt(), key, "CRC of the footer differs");
            check(Arrays.equals(sha256(footer), ref.footerDigest), key, "digest of the footer differs");
            Segment s = new Segment();
            s.key = key;
            Decoder d = new Decoder(key, keys == null ? footer : keys.openObject(key, footer));
            List<DataKey> dataKeys = new ArrayList<>();
            if (keys != null) {
                d.repeat(() -> dataKeys.add(DataKey.parse(d)));
            }
            d.repeat(() -> s.streams.add(parseStream(d, keys, dataKeys)));
            d.end();
            check(s.streams.stream().map(SegmentStream::id).distinct().count() == s.streams.size(), key, "stream named twice");
            s.checkTiling(from);
            return s;
        }

        private static SegmentStream parseStream(Decoder d, Keys keys, List<DataKey> dataKeys) {
            SegmentStream s = new SegmentStream();
            s.topic = d.bytes(16);
            s.name = d.str(MAX_TOPIC_NAME);
            s.partition = (int) d.atMost(Integer.MAX_VALUE);
            long[] last = {MAGIC.length, 0}; // end in the object, next offset
            d.repeatSome(() -> {
                Block b = parseBlock(d, last[0], last[1], keys == null ? 0 : 16);
                if (keys != null) {
                    b.keys = keys;
                    b.dataKey = dataKeys.get(d.below(d.atMost(MAX_NUMBERS), dataKeys.size()));
                    b.number = d.uv();
                    b.topic = s.topic;
                    b.partition = s.partition;
                }
                last[0] = b.position + b.stored;
                last[1] = b.next;
                s.blocks.add(b);
            });
            return s;
        }

        private static Block parseBlock(Decoder d, long end, long next, int tag) {
            Block b = new Block();
            b.key = d.key;
            b.position = d.sum(end, d.uv());
            b.codec = d.u8();
            check(b.codec <= 1 || b.codec == 2 && tag == 0, d.key, "unknown codec of a block");
            b.stored = d.positive();
            b.raw = d.positive();
            b.served = b.codec == 2 ? d.positive() : b.raw;
            check(b.raw <= MAX_BLOCK && b.stored <= MAX_BLOCK + tag, d.key, "block longer than allowed");
            check(b.codec != 0 || b.stored == b.raw + tag, d.key, "lengths of an uncompressed block differ");
            b.start = d.sum(next, d.uv());
            b.next = d.sum(b.start, d.positive());
            b.batches = d.atMost(1L << 40);
            b.records = d.atMost(1L << 40);
            if (b.records > 0) {
                b.maxTimestamp = d.sv();
                b.minTimestamp = b.maxTimestamp - d.uv();
                check(b.minTimestamp <= b.maxTimestamp, d.key, "timestamp beyond the limit");
            }
            b.epoch = d.epoch();
            b.plain = d.flag();
            parseEvents(d, b);
            b.digest = d.bytes(32);
            return b;
        }

        private static void parseEvents(Decoder d, Block b) {
            long[] last = {b.start};
            d.repeat(() -> {
                Event e = new Event();
                e.offset = last[0] = d.sum(last[0], d.uv());
                check(e.offset < b.next, d.key, "transaction event beyond its block");
                e.kind = d.u8();
                check(e.kind <= 2, d.key, "unknown kind of a transaction event");
                e.producer = d.sv();
                e.epoch = (int) d.between(Short.MIN_VALUE, Short.MAX_VALUE);
                b.events.add(e);
            });
        }

        private void checkTiling(long footer) {
            List<Block> blocks = new ArrayList<>();
            streams.forEach(s -> blocks.addAll(s.blocks));
            blocks.sort(Comparator.comparingLong(b -> b.position));
            long end = MAGIC.length;
            for (Block b : blocks) {
                check(b.position == end, key, "blocks do not tile at " + end);
                end += b.stored;
            }
            check(end == footer, key, "blocks end at " + end + ", the footer begins at " + footer);
        }

        void checkBlocks(byte[] object) throws IOException {
            for (SegmentStream s : streams) {
                for (Block b : s.blocks) {
                    BlockCheck.check(b, b.batches(object));
                }
            }
        }
    }

    /** Holds what the footer says of a block against its batches. */
    static final class BlockCheck {
        static void check(Block block, List<Batch> batches) throws IOException {
            checkOffsets(block, batches);
            checkSums(block, batches);
            checkEvents(block, batches);
            for (Batch b : batches) {
                b.records(record -> { });
            }
        }

        private static void checkOffsets(Block block, List<Batch> batches) {
            long last = -1;
            for (Batch b : batches) {
                Reader.check(b.base > last && b.last >= b.base, block.key, "offsets do not ascend at " + b.base);
                Reader.check(b.base >= block.start || last < 0 && b.last >= block.start, block.key, "batch " + b.base + " lies before its block");
                last = b.last;
            }
            Reader.check(last < block.next, block.key, "batch " + last + " lies beyond its block");
        }

        private static void checkSums(Block block, List<Batch> batches) {
            long records = 0;
            long max = Long.MIN_VALUE;
            long min = Long.MAX_VALUE;
            boolean plain = true;
            long next = block.start;
            for (Batch b : batches) {
                plain &= !b.control && !b.transactional && !b.logAppendTime && b.count == b.last - b.base + 1 && b.base == next;
                next = b.last + 1;
                if (!b.control && b.count > 0) {
                    records += b.count;
                    max = Math.max(max, b.maxTimestamp);
                    min = Math.min(min, b.minTimestamp());
                }
            }
            plain &= next == block.next;
            String at = " of the block at " + block.position + " differs";
            Reader.check(batches.size() == block.batches, block.key, "count of batches" + at);
            Reader.check(records == block.records, block.key, "count of records" + at);
            Reader.check(records == 0 || max == block.maxTimestamp && min == block.minTimestamp, block.key, "range of timestamps" + at);
            Reader.check(batches.get(batches.size() - 1).epoch == block.epoch, block.key, "leader epoch" + at);
            Reader.check(plain == block.plain, block.key, "plain flag" + at);
        }

        private static void checkEvents(Block block, List<Batch> batches) throws IOException {
            Map<Long, Event> events = new HashMap<>();
            block.events.forEach(e -> events.put(e.offset, e));
            Reader.check(events.size() == block.events.size(), block.key, "two transaction events at one offset");
            Map<Long, Boolean> open = new HashMap<>(); // producers with data since their last marker
            for (Batch b : batches) {
                Optional<Event> want = b.event(block.start);
                if (want.isEmpty()) {
                    continue;
                }
                Event w = want.get();
                Event got = events.remove(w.offset);
                boolean first = w.kind != 0 || open.put(w.producer, true) == null;
                Reader.check(got == null ? !first : got.kind == w.kind && got.producer == w.producer && got.epoch == w.epoch,
                    block.key, "transaction event at offset " + w.offset + " differs");
                if (w.kind != 0) {
                    open.remove(w.producer);
                }
            }
            Reader.check(events.isEmpty(), block.key, "transaction event without a batch");
        }
    }

    /** Holds the footers of an entry's segments against its ranges: data spans are exactly the concatenated blocks. */
    static final class Agreement {
        static void check(Entry entry, State state, List<Segment> segments) {
            List<Map<String, List<Block>>> left = new ArrayList<>(); // per segment, by stream
            for (Segment s : segments) {
                Map<String, List<Block>> blocks = new HashMap<>();
                if (s != null) {
                    s.streams.forEach(x -> blocks.put(x.id(), new ArrayList<>(x.blocks)));
                }
                left.add(blocks);
            }
            // Blocks are taken off the lists; what is left belongs to no range.
            for (Range r : entry.ranges) {
                StreamState stream = state.streams.get(r.stream);
                String name = streamId(stream.topic.id, stream.topic.name, stream.partition);
                long start = r.start;
                int epoch = stream.epoch;
                for (Span span : r.spans) {
                    if (span.segment >= 0 && segments.get(span.segment) == null) {
                        epoch = stream.epoch; // nobody can tell any more
                    } else if (span.segment >= 0) {
                        epoch = take(span, start, left.get(span.segment).getOrDefault(name, new ArrayList<>()));
                    }
                    start += span.offsets;
                }
                Reader.check(epoch == stream.epoch, entry.key, "leader epoch of stream " + r.stream + " differs from its last block");
            }
            for (Move m : entry.moves) {
                StreamState stream = state.streams.get(m.stream);
                if (segments.get(m.span.segment) != null) {
                    take(m.span, m.start, left.get(m.span.segment).getOrDefault(streamId(stream.topic.id, stream.topic.name, stream.partition), new ArrayList<>()));
                }
            }
            for (int i = 0; i < segments.size(); i++) {
                Reader.check(left.get(i).values().stream().allMatch(List::isEmpty), entry.segments.get(i).key, "block that the entry does not name");
            }
        }

        /** Takes the blocks of a span off the list and returns the last one's leader epoch. */
        private static int take(Span span, long start, List<Block> blocks) {
            String key = span.key;
            long at = start;
            long records = 0;
            long max = Long.MIN_VALUE;
            long min = Long.MAX_VALUE;
            int epoch = 0;
            while (at < start + span.offsets) {
                Reader.check(!blocks.isEmpty() && blocks.get(0).start == at, key, "no block at offset " + at);
                Block b = blocks.remove(0);
                span.blocks.add(b);
                at = b.next;
                epoch = b.epoch;
                records += b.records;
                if (b.records > 0) {
                    max = Math.max(max, b.maxTimestamp);
                    min = Math.min(min, b.minTimestamp);
                }
            }
            Reader.check(at == start + span.offsets, key, "block ends beyond the range at " + start);
            Reader.check(records == span.records, key, "count of records differs from the entry's at " + start);
            Reader.check(records == 0 || max == span.maxTimestamp && min == span.minTimestamp, key, "timestamps differ from the entry's at " + start);
            return epoch;
        }
    }

    // ---- Record batches ----

    record Header(byte[] key, byte[] value) {}

    record Rec(long offset, long timestamp, byte[] key, byte[] value, List<Header> headers) {}

    interface RecordHandler {
        void handle(Rec r) throws IOException;
    }

    static final class Batch {
        static final int HEADER = 61;
        static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};

        String key; // of the object
        ByteBuffer bytes;
        long base;
        long last;
        int epoch;
        int attributes;
        boolean logAppendTime;
        boolean transactional;
        boolean control;
        boolean deleteHorizon;
        long baseTimestamp;
        long maxTimestamp;
        long producer;
        int producerEpoch;
        int count;

        /** Splits a block into its batches and checks bounds, magic and CRC of each. */
        static List<Batch> split(String key, byte[] raw) {
            List<Batch> batches = new ArrayList<>();
            ByteBuffer all = ByteBuffer.wrap(raw);
            while (all.hasRemaining()) {
                batches.add(next(key, all));
            }
            return batches;
        }

        private static Batch next(String key, ByteBuffer all) {
            check(all.remaining() >= HEADER, key, "batch cut short");
            long size = 12L + all.getInt(all.position() + 8);
            check(size >= HEADER && size <= all.remaining() && size <= MAX_BATCH, key, "batch length " + size + " out of bounds");
            Batch b = new Batch(key, all.slice(all.position(), (int) size));
            all.position(all.position() + (int) size);
            return b;
        }

        /** Does so with a block of batches whose records are not compressed any more. Of what the broker served, the compressed bytes are lost. */
        static List<Batch> splitReencoded(String key, byte[] raw, long served) {
            List<Batch> batches = new ArrayList<>();
            ByteBuffer all = ByteBuffer.wrap(raw);
            long sum = 0;
            while (all.hasRemaining()) {
                int codec = all.get();
                check(codec >= 0 && codec < CODECS.length, key, "unknown codec of a batch that was re-encoded");
                long length = -1;
                if (codec > 0) {
                    check(all.remaining() > 8, key, "batch cut short");
                    length = 12 + u32(all.getInt());
                    all.getInt(); // the CRC that it had, of what is lost
                    check(length >= HEADER && length <= MAX_BATCH, key, "batch length " + length + " out of bounds");
                }
                Batch b = next(key, all);
                check(codec == 0 || (b.attributes & 7) == 0, key, "batch " + b.base + " is compressed, and was, it says");
                sum += codec == 0 ? b.bytes.capacity() : length;
                batches.add(b);
            }
            check(sum == served, key, "batches of " + sum + " bytes instead of " + served);
            return batches;
        }

        private Batch(String key, ByteBuffer b) {
            this.key = key;
            bytes = b;
            base = b.getLong(0);
            epoch = b.getInt(12);
            check(b.get(16) == 2, key, "magic of batch " + base + " is not 2");
            byte[] sum = new byte[b.capacity() - 21];
            b.get(21, sum);
            check(crc32c(sum, 0) == b.getInt(17), key, "CRC of batch " + base + " differs");
            attributes = b.getShort(21);
            logAppendTime = (attributes & 8) != 0;
            transactional = (attributes & 16) != 0;
            control = (attributes & 32) != 0;
            deleteHorizon = (attributes & 64) != 0;
            last = base + b.getInt(23);
            baseTimestamp = b.getLong(27);
            maxTimestamp = b.getLong(35);
            producer = b.getLong(43);
            producerEpoch = b.getShort(51);
            count = b.getInt(57);
            check(base >= 0 && count >= 0, key, "header of batch " + base + " is malformed");
        }

        private long minTimestamp() {
            return logAppendTime || deleteHorizon ? maxTimestamp : Math.min(baseTimestamp, maxTimestamp);
        }

        /** Returns what the batch says about its producer's transaction, in a block that begins at start. */
        Optional<Event> event(long start) throws IOException {
            if (!transactional || count == 0) {
                return Optional.empty();
            }
            Event e = new Event();
            e.offset = Math.max(base, start);
            e.producer = producer;
            e.epoch = producerEpoch;
            if (!control) {
                return Optional.of(e);
            }
            int[] type = {-1};
            records(r -> type[0] = ByteBuffer.wrap(r.key).getShort(2));
            e.kind = type[0] == 1 ? 1 : 2;
            return type[0] == 0 || type[0] == 1 ? Optional.of(e) : Optional.empty();
        }

        void records(RecordHandler handler) throws IOException {
            int codec = attributes & 7;
            check(codec < CODECS.length, key, "unknown codec of batch " + base);
            ByteBuffer payload = bytes.slice(HEADER, bytes.capacity() - HEADER);
            try (InputStream in = Compression.of(CODECS[codec]).build().wrapForInput(payload, (byte) 2, BufferSupplier.NO_CACHING)) {
                DataInputStream data = new DataInputStream(in);
                long previous = base - 1;
                for (int i = 0; i < count; i++) {
                    Rec r = record(data);
                    check(r.offset > previous && r.offset <= last, key, "offsets of the records in batch " + base + " do not ascend");
                    previous = r.offset;
                    handler.handle(r);
                }
                check(data.read() < 0, key, "bytes left over in batch " + base);
            } catch (Damage e) {
                throw e;
            } catch (IOException | RuntimeException e) {
                throw new Damage(key, "batch " + base + ": " + e);
            }
        }

        private Rec record(DataInputStream in) throws IOException {
            byte[] body = new byte[length(varint(in), MAX_BATCH)];
            in.readFully(body);
            DataInputStream d = new DataInputStream(new java.io.ByteArrayInputStream(body));
            d.readByte(); // attributes, unused
            long timestamp = baseTimestamp + varint(d);
            long offset = base + varint(d);
            byte[] key = nullable(d);
            byte[] value = nullable(d);
            List<Header> headers = new ArrayList<>();
            int n = length(varint(d), body.length);
            for (int i = 0; i < n; i++) {
                headers.add(new Header(nullable(d), nullable(d)));
            }
            check(d.available() == 0, this.key, "bytes left over in record " + offset);
            return new Rec(offset, logAppendTime ? maxTimestamp : timestamp, key, value, headers);
        }

        private byte[] nullable(DataInputStream in) throws IOException {
            long n = varint(in);
            if (n == -1) {
                return null;
            }
            byte[] b = new byte[length(n, in.available())];
            in.readFully(b);
            return b;
        }

        private int length(long n, int limit) {
            check(n >= 0 && n <= limit, key, "length in batch " + base + " out of bounds");
            return (int) n;
        }

        private static long varint(DataInputStream in) throws IOException {
            long n = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                int b = in.readUnsignedByte();
                n |= (long) (b & 0x7f) << shift;
                if (b < 0x80) {
                    return n >>> 1 ^ -(n & 1);
                }
            }
            throw new IOException("varint overflows");
        }
    }

    // ---- What a restore yields ----

    /** What is read of one span: the offsets below next. What lies below the log start may be removed. */
    record Piece(Stored stored, long next, boolean needed) {}

    interface BatchHandler {
        void handle(Batch b, long lowest) throws IOException;
    }

    static final class Restore {
        final Repository repository;
        final State state;
        final Entry point;
        final PrintStream out;

        Restore(Repository repository, State state, Entry point, PrintStream out) {
            this.repository = repository;
            this.state = state;
            this.point = point;
            this.out = out;
        }

        void print() throws IOException {
            List<Topic> topics = new ArrayList<>(state.topics.stream().filter(t -> !t.current.gone && !t.isGroupLog()).toList());
            topics.sort((a, b) -> compareBytes(a.name, b.name));
            topics.forEach(this::printTopic);
            for (Topic t : topics) {
                for (StreamState s : t.newest.values()) {
                    printPartition(s);
                }
            }
            printGroups(state.groups, out);
        }

        /** Content is JSON already. */
        void printMetadata() {
            state.metadata.forEach((kind, content) ->
                out.printf("{\"kind\":\"metadata\",\"name\":%s,\"content\":%s}\n", quote(kind), content.orElse("null")));
        }

        private void printTopic(Topic t) {
            List<String> configs = t.current.configs.entrySet().stream()
                .map(c -> quote(c.getKey()) + ":" + c.getValue().map(Reader::quote).orElse("null")).toList();
            out.printf("{\"kind\":\"topic\",\"topic\":%s,\"id\":\"%s\",\"partitions\":%d,\"replication\":%d,\"configs\":{%s}}\n",
                quote(t.name), uuid(t.id), t.current.partitions, t.current.replication, String.join(",", configs));
        }

        static void printGroups(Map<String, Group> groups, PrintStream out) {
            groups.forEach((id, g) -> g.offsets.forEach((topic, partitions) -> partitions.forEach((partition, c) ->
                out.printf("{\"kind\":\"offset\",\"group\":%s,\"type\":%s,\"protocol\":%s,\"topic\":%s,\"partition\":%d,\"offset\":%d,\"epoch\":%d,\"metadata\":%s}\n",
                    quote(id), quote(g.type), quote(g.protocol), quote(topic), partition, c.offset, c.epoch, quote(c.metadata)))));
        }

        private void printPartition(StreamState youngest) throws IOException {
            List<Piece> pieces = pieces(youngest, cut(youngest));
            Map<Long, TreeMap<Long, Boolean>> markers = new HashMap<>(); // producer -> offset -> committed
            for (Piece p : pieces) {
                repository.eachBatch(p, (b, lowest) -> b.event(lowest).filter(e -> e.kind != 0 && e.offset < p.next)
                    .ifPresent(e -> markers.computeIfAbsent(e.producer, x -> new TreeMap<>()).put(e.offset, e.kind == 1)));
            }
            heedPoint(youngest, markers);
            for (Piece p : pieces) {
                repository.eachBatch(p, (b, lowest) -> {
                    if (!b.control && b.count > 0 && (!b.transactional || committed(markers.get(b.producer), b.base))) {
                        long from = Math.max(lowest, youngest.logStart);
                        b.records(r -> {
                            if (r.offset >= from && r.offset < p.next) {
                                printRecord(youngest, r);
                            }
                        });
                    }
                });
            }
        }

        /** Lets the point have the last word: what it calls undone is as if aborted, what it calls decided as if a commit marker followed. */
        private void heedPoint(StreamState youngest, Map<Long, TreeMap<Long, Boolean>> markers) {
            for (StreamState s = youngest; s != null; s = s.parent) {
                int number = state.streams.indexOf(s);
                for (Transaction t : point.transactions) {
                    TreeMap<Long, Boolean> own = markers.computeIfAbsent(t.producer, x -> new TreeMap<>());
                    if (t.stream == number && t.kind == 2) {
                        own.tailMap(t.offset, true).replaceAll((offset, commit) -> false);
                    } else if (t.stream == number && t.kind == 1) {
                        own.put(Long.MAX_VALUE, true);
                    }
                }
            }
        }

        private long cut(StreamState youngest) {
            return youngest.position - point.point.exceptions.getOrDefault(state.streams.indexOf(youngest), 0L);
        }

        /** Follows the branches from the oldest to the youngest, each up to the end and to where its child took over. */
        static List<Piece> pieces(StreamState youngest, long end) {
            List<Piece> pieces = new ArrayList<>();
            for (StreamState s = youngest; s != null; s = s.parent) {
                List<Piece> own = new ArrayList<>();
                for (Stored x : where(s)) {
                    if (x.start < end) {
                        own.add(new Piece(x, Math.min(x.next, end), x.next > youngest.logStart));
                    }
                }
                pieces.addAll(0, own);
                end = Math.min(end, s.first);
            }
            return pieces;
        }

        /** Returns where the data of a stream is: as it was captured, but for what was moved. */
        static List<Stored> where(StreamState s) {
            List<Stored> list = new ArrayList<>(s.moved.values());
            for (Stored x : s.data) {
                Map.Entry<Long, Stored> moved = s.moved.floorEntry(x.start);
                if (moved == null || moved.getValue().next <= x.start) {
                    list.add(x);
                }
            }
            list.sort(Comparator.comparingLong(Stored::start));
            return list;
        }

        private static boolean committed(TreeMap<Long, Boolean> markers, long offset) {
            Map.Entry<Long, Boolean> next = markers == null ? null : markers.higherEntry(offset);
            return next != null && next.getValue();
        }

        private void printRecord(StreamState s, Rec r) {
            List<String> headers = r.headers.stream().map(h -> "[" + hexOrNull(h.key) + "," + hexOrNull(h.value) + "]").toList();
            out.printf("{\"kind\":\"record\",\"topic\":%s,\"id\":\"%s\",\"partition\":%d,\"offset\":%d,\"timestamp\":%d,\"key\":%s,\"value\":%s,\"headers\":[%s]}\n",
                quote(s.topic.name), uuid(s.topic.id), s.partition, r.offset, r.timestamp, hexOrNull(r.key), hexOrNull(r.value), String.join(",", headers));
        }
    }

    // ---- The log of groups ----

    /** What a record of the log says about its key; null: nothing any more. */
    record Said(long offset, GroupValue value) {}

    record GroupKey(int kind, String group, String topic, int partition) {} // kind 1: a commit; 2, 3, 17: what the group is

    record GroupValue(Commit commit, byte[] topic, String protocol) {}

    record Mark(boolean commit, long timestamp) {}

    /** Derives what groups have committed from what the source itself wrote about it, and not from section 7. */
    static final class GroupLog {
        static final Map<Integer, String> TYPES = Map.of(2, "classic", 3, "consumer", 17, "streams");
        static final byte[] NO_TOPIC = new byte[16];

        final Repository repository;
        final Map<GroupKey, Said> force = new HashMap<>();

        GroupLog(Repository repository) {
            this.repository = repository;
        }

        /** Returns the groups of a point, but for share groups, as the log says. Section 7 must say the same. */
        Map<String, Group> check(Entry point) throws IOException {
            State state = repository.stateAfter(point.sequence);
            for (StreamState s : logStreams(state)) {
                readUpTo(point, state, s);
            }
            Map<String, Group> derived = groups(state);
            Map<String, Group> stated = new TreeMap<>(state.groups);
            stated.values().removeIf(g -> g.type.equals("share"));
            Reader.check(!logStreams(state).isEmpty(), point.key, "the log of groups is not captured");
            Reader.check(derived.keySet().equals(stated.keySet()), point.key, "groups " + stated.keySet() + ", but the log of groups says " + derived.keySet());
            derived.forEach((id, g) -> Reader.check(g.says(stated.get(id)), point.key, "group " + id + " is not what the log of groups says"));
            return derived;
        }

        private static List<StreamState> logStreams(State state) {
            return state.topics.stream().filter(t -> t.isGroupLog() && !t.current.gone).flatMap(t -> t.newest.values().stream()).toList();
        }

        /** Lets count what counts at a point, in one partition. */
        private void readUpTo(Entry point, State state, StreamState youngest) throws IOException {
            List<Piece> pieces = Restore.pieces(youngest, youngest.position);
            Map<Long, TreeMap<Long, Mark>> marks = marks(pieces);
            for (Transaction t : point.transactions) {
                StreamState s = state.streams.get(t.stream);
                if (s.topic != youngest.topic || s.partition != youngest.partition) {
                    continue;
                }
                TreeMap<Long, Mark> own = marks.computeIfAbsent(t.producer, x -> new TreeMap<>());
                if (t.kind == 2) {
                    own.tailMap(t.offset, true).replaceAll((offset, m) -> new Mark(false, m.timestamp));
                } else if (t.kind == 1) {
                    own.put(Long.MAX_VALUE, new Mark(true, 0));
                }
            }
            long cut = youngest.position - point.point.exceptions.getOrDefault(state.streams.indexOf(youngest), 0L);
            eachRecord(pieces, 0, (b, r) -> {
                if (b.transactional ? next(marks, b).commit : r.offset < cut) {
                    put(r);
                }
            });
        }

        /** Returns what groups had committed at a time, share groups as of the point to begin with. */
        Map<String, Group> at(long time) throws IOException {
            List<Entry> points = repository.entries.stream().filter(e -> e.point != null).toList();
            Entry after = points.stream().filter(e -> e.point.time >= time).findFirst().orElseThrow(() -> new NoPoint("no point after " + time));
            State state = repository.stateAfter(after.sequence);
            Entry before = last(points.stream().filter(e -> e.point.time <= time));
            if (before == null || !isCaptured(before) || !isCaptured(after)) {
                throw new NoPoint("the log of groups was not captured at " + time);
            }
            Entry base = last(points.stream().filter(e -> e.point.time <= time && isCaptured(e) && isSettled(e, time)));
            State begin = repository.stateAfter(base == null ? 0 : base.sequence);
            Entry previous = base == null ? null : last(points.stream().filter(e -> e.sequence < base.sequence));
            Map<Integer, Long> from = previous == null ? Map.of() : ends(previous);
            begin.groups.forEach(this::begin);
            for (StreamState s : logStreams(state)) {
                int number = state.streams.indexOf(s);
                if (s.parent != null && number >= begin.streams.size()) {
                    throw new NoPoint("offsets of the log of groups were rewritten about " + time);
                }
                readUntil(time, s, from.getOrDefault(number, 0L));
            }
            Map<String, Group> groups = groups(null);
            begin.groups.values().removeIf(g -> !g.type.equals("share"));
            groups.putAll(begin.groups);
            return groups;
        }

        private static Entry last(Stream<Entry> entries) {
            return entries.reduce((a, b) -> b).orElse(null);
        }

        private boolean isCaptured(Entry point) {
            return !logStreams(repository.stateAfter(point.sequence)).isEmpty();
        }

        /** Says whether nothing that the log holds up to the point is younger than a time. */
        private boolean isSettled(Entry point, long time) {
            State state = repository.stateAfter(point.sequence);
            return repository.entries.stream().limit(point.sequence).allMatch(e -> e.time <= time)
                && state.streams.stream().filter(s -> s.topic.isGroupLog()).flatMap(s -> s.data.stream()).allMatch(x -> x.span.records == 0 || x.span.maxTimestamp <= time);
        }

        /** Returns where the streams ended at a point, or where the first transaction began that was open or decided there. */
        private Map<Integer, Long> ends(Entry point) {
            State state = repository.stateAfter(point.sequence);
            Map<Integer, Long> ends = new HashMap<>();
            for (int i = 0; i < state.streams.size(); i++) {
                ends.put(i, state.streams.get(i).position);
            }
            point.transactions.stream().filter(t -> t.kind < 2).forEach(t -> ends.merge(t.stream, t.offset, Math::min));
            return ends;
        }

        private void begin(String id, Group g) {
            if (g.type.equals("share")) {
                return;
            }
            TYPES.forEach((kind, type) -> {
                if (type.equals(g.type)) {
                    force.put(new GroupKey(kind, id, "", 0), new Said(-1, new GroupValue(null, NO_TOPIC, g.protocol)));
                }
            });
            g.offsets.forEach((topic, partitions) -> partitions.forEach((partition, c) ->
                force.put(new GroupKey(1, id, topic, partition), new Said(-1, new GroupValue(c, NO_TOPIC, "")))));
        }

        private void readUntil(long time, StreamState youngest, long from) throws IOException {
            List<Piece> pieces = Restore.pieces(youngest, youngest.position);
            Map<Long, TreeMap<Long, Mark>> marks = marks(pieces);
            eachRecord(pieces, from, (b, r) -> {
                if (b.transactional ? next(marks, b).commit && next(marks, b).timestamp <= time && r.timestamp <= time : r.timestamp <= time) {
                    put(r);
                }
            });
        }

        interface LogHandler {
            void handle(Batch b, Rec r);
        }

        private void eachRecord(List<Piece> pieces, long from, LogHandler handler) throws IOException {
            for (Piece p : pieces) {
                repository.eachBatch(p, (b, lowest) -> {
                    if (!b.control) {
                        b.records(r -> {
                            if (r.offset >= Math.max(lowest, from) && r.offset < p.next) {
                                handler.handle(b, r);
                            }
                        });
                    }
                });
            }
        }

        private Map<Long, TreeMap<Long, Mark>> marks(List<Piece> pieces) throws IOException {
            Map<Long, TreeMap<Long, Mark>> marks = new HashMap<>(); // by producer and offset
            for (Piece p : pieces) {
                repository.eachBatch(p, (b, lowest) -> b.event(lowest).filter(e -> e.kind != 0 && e.offset < p.next)
                    .ifPresent(e -> marks.computeIfAbsent(e.producer, x -> new TreeMap<>()).put(e.offset, new Mark(e.kind == 1, b.maxTimestamp))));
            }
            return marks;
        }

        /** Returns the marker that ends a batch's transaction; an open one is as good as aborted. */
        private static Mark next(Map<Long, TreeMap<Long, Mark>> marks, Batch b) {
            Map.Entry<Long, Mark> next = marks.getOrDefault(b.producer, new TreeMap<>()).higherEntry(b.base);
            return next == null ? new Mark(false, 0) : next.getValue();
        }

        /** Lets a record count. */
        private void put(Rec r) {
            ByteBuffer b = ByteBuffer.wrap(r.key);
            int kind = b.getShort();
            if (kind != 0 && kind != 1 && !TYPES.containsKey(kind)) {
                return;
            }
            String group = string(b, false);
            GroupKey key = kind <= 1 ? new GroupKey(1, group, string(b, false), b.getInt()) : new GroupKey(kind, group, "", 0);
            if (group.startsWith("offsite-restore-") || force.containsKey(key) && force.get(key).offset > r.offset) {
                return;
            }
            force.put(key, new Said(r.offset, r.value == null ? null : value(key.kind, ByteBuffer.wrap(r.value))));
        }

        private static GroupValue value(int kind, ByteBuffer b) {
            int version = b.getShort();
            if (kind != 1) {
                return new GroupValue(null, NO_TOPIC, kind == 2 ? string(b, version >= 4) : TYPES.get(kind));
            }
            if (version < 0 || version > 4) {
                throw new IllegalArgumentException("a commit of version " + version);
            }
            long offset = b.getLong();
            int epoch = version >= 3 ? b.getInt() : -1;
            Commit commit = new Commit(offset, epoch, string(b, version >= 4));
            b.getLong(); // time of the commit
            return offset < 0 ? null : new GroupValue(commit, version >= 4 ? topicId(b) : NO_TOPIC, "");
        }

        /** Looks for the topic's id among the tagged fields. */
        private static byte[] topicId(ByteBuffer b) {
            byte[] id = NO_TOPIC;
            for (long n = uv(b); n > 0; n--) {
                long tag = uv(b);
                byte[] field = new byte[(int) uv(b)];
                b.get(field);
                id = tag == 0 ? field : id;
            }
            return id;
        }

        private static long uv(ByteBuffer b) {
            long n = 0;
            for (int shift = 0; ; shift += 7) {
                int x = b.get();
                n |= (long) (x & 0x7f) << shift;
                if (x >= 0) {
                    return n;
                }
            }
        }

        private static String string(ByteBuffer b, boolean compact) {
            byte[] text = new byte[compact ? (int) uv(b) - 1 : b.getShort()];
            b.get(text);
            return new String(text, StandardCharsets.UTF_8);
        }

        /** Returns the groups of which something is in force. If there is a state, its topics say which topic ids count. */
        private Map<String, Group> groups(State state) {
            Map<String, Group> groups = new TreeMap<>(Reader::compareBytes);
            force.values().removeIf(said -> said.value == null);
            force.forEach((key, said) -> {
                Group g = groups.computeIfAbsent(key.group, id -> new Group());
                if (key.kind != 1) {
                    g.type = TYPES.get(key.kind);
                    g.protocol = said.value.protocol;
                } else if (state == null || Arrays.equals(said.value.topic, NO_TOPIC) || state.topics.stream()
                    .noneMatch(t -> t.name.equals(key.topic) && !t.current.gone && !Arrays.equals(t.id, said.value.topic))) {
                    g.offsets.computeIfAbsent(key.topic, t -> new TreeMap<>()).put(key.partition, said.value.commit);
                }
            });
            groups.values().stream().filter(g -> g.type == null).forEach(g -> {
                g.type = "classic";
                g.protocol = "";
            });
            return groups;
        }
    }

    // ---- Encryption and signatures ----

    record Generation(String recipient, byte[] dataIdentity, byte[] logKey, byte[] check) {}

    /** Section 16. */
    record KeyStatement(long before, List<Generation> generations, byte[] stated, byte[] mac) {
        static KeyStatement parse(Decoder d) {
            byte[] all = d.rest();
            long before = d.atMost(Long.MAX_VALUE);
            d.bytes(d.uv()); // who states it
            List<Generation> list = new ArrayList<>();
            d.repeatSome(() -> {
                list.add(new Generation(d.str(MAX_TEXT), d.bytes(d.uv()), d.bytes(d.uv()), d.bytes(32)));
                d.repeatSome(() -> holder(d));
                d.repeat(() -> holder(d));
            });
            byte[] mac = d.bytes(32);
            return new KeyStatement(before, list, Arrays.copyOf(all, all.length - 32), mac);
        }

        private static void holder(Decoder d) {
            d.str(MAX_TEXT);
            d.str(256);
        }
    }

    /** A data key as a footer has it. */
    record DataKey(int generation, String origin, byte[] share, byte[] wrapped) {
        static DataKey parse(Decoder d) {
            int generation = (int) d.atMost(0xffff);
            String writer = hex(d.bytes(16));
            return new DataKey(generation, Entry.segmentKey(writer, d.atMost(Long.MAX_VALUE)), d.bytes(32), d.bytes(32));
        }
    }

    /** The secrets that an identity opens, by generation. */
    static final class Keys {
        final byte[] repository;
        final List<Generation> known;
        final List<byte[]> logKeys = new ArrayList<>();
        final List<byte[]> dataIdentities = new ArrayList<>();

        private Keys(byte[] repository, List<Generation> known) {
            this.repository = repository;
            this.known = known;
        }

        /** Opens the keys that are stated last: the last entry says where, without a key. */
        static Keys find(Repository r, List<String> log) throws IOException {
            String key = log.get(log.size() - 1);
            byte[] object = Entry.unsigned(key, r.read(key));
            if (Entry.sealed(object)) {
                byte[] stored = Entry.stored(key, object);
                Reader.check(stored.length >= 36, key, "sealed body cut short");
                long at = ByteBuffer.wrap(stored).getLong();
                Reader.check(at > 0 && at <= log.size(), key, "keys are in no entry");
                key = log.get((int) at - 1);
                object = Entry.unsigned(key, r.read(key));
            }
            Reader.check(!Entry.sealed(object), key, "the entry with the keys is sealed");
            Entry e = new Entry();
            e.key = key;
            e.parseBody(Entry.body(key, object, Entry.stored(key, object)));
            Reader.check(e.keys != null, key, "no keys");
            Keys keys = new Keys(r.id, e.keys.generations);
            byte[] identity = identity(Files.readString(Path.of(System.getenv("READER_IDENTITY"))));
            for (Generation g : keys.known) {
                keys.logKeys.add(unwrap(key, identity, g.logKey));
                keys.dataIdentities.add(identity(new String(unwrap(key, identity, g.dataIdentity), StandardCharsets.UTF_8)));
            }
            return keys;
        }

        /** Checks keys against those before them. */
        void check(Entry e, byte[] previous, State before) {
            List<Generation> old = before.generations;
            List<Generation> now = e.keys.generations;
            Reader.check(e.keys.before == before.lastKeys, e.key, "it does not know the keys of entry " + before.lastKeys);
            Reader.check(now.size() >= old.size() && now.size() <= old.size() + 1 && now.size() <= known.size(), e.key, now.size() + " generations of keys");
            for (int i = 0; i < now.size(); i++) {
                byte[] check = derive(logKeys.get(i), "offsite check", u32(i));
                Reader.check(Arrays.equals(now.get(i).check, check) && now.get(i).recipient.equals(known.get(i).recipient), e.key, "generation " + i + " changes");
            }
            byte[] by = derive(logKeys.get(Math.max(old.size(), 1) - 1), "offsite keys", new byte[0]);
            Reader.check(Arrays.equals(hmac(by, concat(u64(e.sequence), previous, e.keys.stated)), e.keys.mac), e.key, "MAC of the keys differs");
        }

        byte[] openEntry(String key, byte[] object, byte[] stored, State before) {
            int generation = Entry.flags(object) >>> 16;
            Reader.check(stored.length >= 36, key, "sealed body cut short");
            Reader.check(generation == before.generations.size() - 1, key, "not sealed with the newest keys");
            Reader.check(ByteBuffer.wrap(stored).getLong() == before.lastKeys, key, "the newest keys are in entry " + before.lastKeys);
            byte[] by = derive(logKeys.get(generation), "offsite entry", Arrays.copyOfRange(object, 8, 16));
            return open(key, by, Arrays.copyOfRange(stored, 8, 20), concat(Arrays.copyOf(object, Entry.HEADER), Arrays.copyOf(stored, 8)), Arrays.copyOfRange(stored, 20, stored.length));
        }

        byte[] openObject(String key, byte[] sealed) {
            Reader.check(sealed.length >= 32, key, "sealed content cut short");
            int generation = ByteBuffer.wrap(sealed).getInt();
            Reader.check(generation >= 0 && generation < logKeys.size(), key, "unknown generation of keys");
            byte[] by = derive(logKeys.get(generation), "offsite object", key.getBytes(StandardCharsets.UTF_8));
            return open(key, by, Arrays.copyOfRange(sealed, 4, 16), Arrays.copyOf(sealed, 4), Arrays.copyOfRange(sealed, 16, sealed.length));
        }

        byte[] openBlock(Block b, byte[] sealed) {
            DataKey k = b.dataKey;
            Reader.check(k.generation < dataIdentities.size(), b.key, "unknown generation of keys");
            byte[] secret = unwrapStanza(b.key, dataIdentities.get(k.generation), k.share, k.wrapped);
            byte[] by = derive(secret, "offsite block", k.origin.getBytes(StandardCharsets.UTF_8));
            byte[] what = concat(b.topic, u32(b.partition), u64(b.start), u64(b.next), new byte[] {(byte) b.codec}, u32((int) b.raw));
            return open(b.key, by, concat(new byte[4], u64(b.number)), what, sealed);
        }

        private byte[] derive(byte[] secret, String label, byte[] context) {
            return hkdf(secret, repository, concat(label.getBytes(StandardCharsets.UTF_8), new byte[1], context));
        }

        static void checkSignature(byte[] repository, String key, byte[] object, byte[] signed) {
            String text = System.getenv("READER_PUBLIC_KEY");
            if (text == null || text.isEmpty()) {
                return;
            }
            Reader.check(signed.length > object.length, key, "not signed");
            try {
                byte[] point = Base64.getDecoder().decode(text.strip().substring("ed25519:".length()));
                PublicKey by = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(concat(HexFormat.of().parseHex("302a300506032b6570032100"), point)));
                Signature s = Signature.getInstance("Ed25519");
                s.initVerify(by);
                s.update(concat("offsite log entry\0".getBytes(StandardCharsets.UTF_8), repository, Arrays.copyOfRange(object, object.length - Entry.DIGEST, object.length)));
                Reader.check(s.verify(Arrays.copyOfRange(signed, object.length, signed.length)), key, "signed with another key");
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }

        private static byte[] open(String key, byte[] by, byte[] nonce, byte[] data, byte[] sealed) {
            try {
                Cipher c = Cipher.getInstance("AES/GCM/NoPadding");
                c.init(Cipher.DECRYPT_MODE, new SecretKeySpec(by, "AES"), new GCMParameterSpec(128, nonce));
                c.updateAAD(data);
                return c.doFinal(sealed);
            } catch (GeneralSecurityException e) {
                throw new Damage(key, "altered, or sealed with another key: " + e.getMessage());
            }
        }

        // What follows is age: age-encryption.org/v1, with X25519 only.

        /** Returns the private key of the line that begins with AGE-SECRET-KEY-1, which is Bech32. */
        private static byte[] identity(String text) {
            String prefix = "AGE-SECRET-KEY-1";
            String line = text.lines().map(String::strip).filter(l -> l.startsWith(prefix)).findFirst().orElseThrow();
            byte[] key = new byte[32];
            int bits = 0;
            int have = 0;
            int n = 0;
            for (char c : line.substring(prefix.length(), line.length() - 6).toCharArray()) { // the last six are a checksum
                bits = bits << 5 | "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".indexOf(c);
                have += 5;
                if (have >= 8 && n < key.length) {
                    have -= 8;
                    key[n++] = (byte) (bits >> have);
                }
            }
            return key;
        }

        /** Opens a file that is wrapped for the identity, and of one chunk. */
        private static byte[] unwrap(String key, byte[] identity, byte[] file) {
            String text = new String(file, StandardCharsets.ISO_8859_1);
            int mac = text.indexOf("\n--- ") + 1;
            int payload = text.indexOf('\n', mac) + 1;
            Reader.check(mac > 0 && payload > 0 && text.startsWith("age-encryption.org/v1\n"), key, "no file of age");
            String[] lines = text.substring(0, mac).split("\n");
            for (int i = 1; i + 1 < lines.length; i++) {
                if (!lines[i].startsWith("-> X25519 ")) {
                    continue;
                }
                byte[] share = Base64.getDecoder().decode(lines[i].substring("-> X25519 ".length()));
                byte[] secret;
                try {
                    secret = unwrapStanza(key, identity, share, Base64.getDecoder().decode(lines[i + 1]));
                } catch (Damage e) {
                    continue; // for somebody else
                }
                byte[] authentic = hmac(hkdf(secret, new byte[32], "header".getBytes(StandardCharsets.UTF_8)), text.substring(0, mac + 3).getBytes(StandardCharsets.ISO_8859_1));
                Reader.check(Arrays.equals(authentic, Base64.getDecoder().decode(text.substring(mac + 4, payload - 1))), key, "header of age altered");
                byte[] by = hkdf(secret, Arrays.copyOfRange(file, payload, payload + 16), "payload".getBytes(StandardCharsets.UTF_8));
                byte[] nonce = new byte[12];
                nonce[11] = 1; // the first chunk is the last one
                return chacha(key, by, nonce, Arrays.copyOfRange(file, payload + 16, file.length));
            }
            throw new Damage(key, "wrapped for others than the identity");
        }

        private static byte[] unwrapStanza(String key, byte[] identity, byte[] share, byte[] wrapped) {
            byte[] nine = new byte[32];
            nine[0] = 9;
            byte[] by = hkdf(x25519(identity, share), concat(share, x25519(identity, nine)), "age-encryption.org/v1/X25519".getBytes(StandardCharsets.UTF_8));
            return chacha(key, by, new byte[12], wrapped);
        }

        private static byte[] x25519(byte[] scalar, byte[] point) {
            try {
                byte[] bigEndian = new byte[32];
                for (int i = 0; i < 32; i++) {
                    bigEndian[31 - i] = point[i];
                }
                bigEndian[0] &= 0x7f;
                KeyFactory keys = KeyFactory.getInstance("X25519");
                KeyAgreement agreement = KeyAgreement.getInstance("X25519");
                agreement.init(keys.generatePrivate(new XECPrivateKeySpec(NamedParameterSpec.X25519, scalar)));
                agreement.doPhase(keys.generatePublic(new XECPublicKeySpec(NamedParameterSpec.X25519, new BigInteger(1, bigEndian))), true);
                return agreement.generateSecret();
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }

        private static byte[] chacha(String key, byte[] by, byte[] nonce, byte[] sealed) {
            try {
                Cipher c = Cipher.getInstance("ChaCha20-Poly1305");
                c.init(Cipher.DECRYPT_MODE, new SecretKeySpec(by, "ChaCha20"), new IvParameterSpec(nonce));
                return c.doFinal(sealed);
            } catch (GeneralSecurityException e) {
                throw new Damage(key, "altered, or wrapped for another identity");
            }
        }

        /** Returns the first 32 bytes of HKDF-SHA-256. */
        private static byte[] hkdf(byte[] secret, byte[] salt, byte[] info) {
            return hmac(hmac(salt, secret), concat(info, new byte[] {1}));
        }

        private static byte[] hmac(byte[] key, byte[] text) {
            try {
                Mac mac = Mac.getInstance("HmacSHA256");
                mac.init(new SecretKeySpec(key, "HmacSHA256"));
                return mac.doFinal(text);
            } catch (GeneralSecurityException e) {
                throw new IllegalStateException(e);
            }
        }

        private static byte[] u32(int n) {
            return ByteBuffer.allocate(4).putInt(n).array();
        }

        private static byte[] u64(long n) {
            return ByteBuffer.allocate(8).putLong(n).array();
        }

        private static byte[] concat(byte[]... parts) {
            ByteBuffer all = ByteBuffer.allocate(Arrays.stream(parts).mapToInt(p -> p.length).sum());
            for (byte[] p : parts) {
                all.put(p);
            }
            return all.array();
        }
    }

    // ---- Encoding ----

    interface Item {
        void read();
    }

    interface NumberedItem {
        void read(int number);
    }

    /** Decodes the fields of one object and refuses what the format refuses. */
    static final class Decoder {
        final String key;
        private final ByteBuffer b;

        Decoder(String key, byte[] bytes) {
            this(key, ByteBuffer.wrap(bytes));
        }

        private Decoder(String key, ByteBuffer b) {
            this.key = key;
            this.b = b;
        }

        int remaining() {
            return b.remaining();
        }

        void end() {
            check(remaining() == 0, key, "bytes left over");
        }

        int u8() {
            check(remaining() >= 1, key, "cut short");
            return b.get() & 0xff;
        }

        /** A u8 of flags in which only bit 0 is defined. */
        boolean flag() {
            int flags = u8();
            check(flags <= 1, key, "unknown flag");
            return flags == 1;
        }

        long i64() {
            check(remaining() >= 8, key, "cut short");
            return b.getLong();
        }

        /** Returns 64 bits that callers take as unsigned, or refuse when negative. */
        long uv() {
            long n = 0;
            for (int i = 0; i < 10; i++) {
                int x = u8();
                check(i < 9 || x <= 1, key, "varint overflows");
                n |= (long) (x & 0x7f) << (7 * i);
                if (x < 0x80) {
                    check(x != 0 || i == 0, key, "varint not in shortest form");
                    return n;
                }
            }
            throw new Damage(key, "varint overflows");
        }

        long sv() {
            long n = uv();
            return n >>> 1 ^ -(n & 1);
        }

        long atMost(long limit) {
            long n = uv();
            check(n >= 0 && n <= limit, key, "value " + Long.toUnsignedString(n) + " beyond the limit");
            return n;
        }

        long between(long low, long high) {
            long n = sv();
            check(n >= low && n <= high, key, "value " + n + " beyond the limit");
            return n;
        }

        long positive() {
            long n = atMost(Long.MAX_VALUE - 1);
            check(n > 0, key, "zero where there must be something");
            return n;
        }

        long offset() {
            return atMost(Long.MAX_VALUE - 1);
        }

        int number() {
            return (int) atMost(MAX_NUMBERS - 1);
        }

        int epoch() {
            return (int) between(Integer.MIN_VALUE, Integer.MAX_VALUE);
        }

        int below(long n, int limit) {
            check(n < limit, key, "number " + n + " beyond the limit");
            return (int) n;
        }

        long sum(long a, long n) {
            check(n >= 0 && n < Long.MAX_VALUE - a, key, "offset beyond the limit");
            return a + n;
        }

        byte[] bytes(long n) {
            check(n >= 0 && n <= remaining(), key, "length beyond the enclosing bytes");
            byte[] x = new byte[(int) n];
            b.get(x);
            return x;
        }

        private byte[] limited(long n, int limit) {
            check(n >= 0 && n <= limit, key, "text longer than allowed");
            return bytes(n);
        }

        /** Returns the bytes that are left, without taking them. */
        byte[] rest() {
            byte[] x = new byte[remaining()];
            b.duplicate().get(x);
            return x;
        }

        String str(int limit) {
            return new String(limited(uv(), limit), StandardCharsets.UTF_8);
        }

        Optional<String> opt(int limit) {
            long n = uv();
            return n == 0 ? Optional.empty() : Optional.of(new String(limited(n - 1, limit), StandardCharsets.UTF_8));
        }

        /** An opt that must be valid UTF-8. */
        Optional<String> utf8(int limit) {
            long n = uv();
            if (n == 0) {
                return Optional.empty();
            }
            try {
                return Optional.of(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(limited(n - 1, limit))).toString());
            } catch (CharacterCodingException e) {
                throw new Damage(key, "text that is not UTF-8");
            }
        }

        Decoder nested() {
            return new Decoder(key, ByteBuffer.wrap(bytes(uv())));
        }

        void repeat(Item item) {
            long n = uv();
            check(n >= 0 && n <= remaining(), key, "count beyond the enclosing bytes");
            for (long i = 0; i < n; i++) {
                item.read();
            }
        }

        void repeatSome(Item item) {
            int before = remaining();
            repeat(item);
            check(before - remaining() > 1, key, "count of zero where there must be something");
        }

        /** Items of which each begins with its number − the previous one − 1. */
        void repeatNumbered(NumberedItem item) {
            int[] last = {-1};
            repeat(() -> {
                last[0] = below(last[0] + 1 + atMost(MAX_NUMBERS), MAX_NUMBERS);
                item.read(last[0]);
            });
        }
    }

    /** Decompresses exactly one frame that states its content size and needs a window of at most 8 MiB. */
    static byte[] unzstd(String key, byte[] frame, long rawLength) {
        check(rawLength <= Segment.MAX_BLOCK, key, "content longer than allowed");
        checkFrame(key, frame, rawLength);
        byte[] raw = new byte[(int) rawLength];
        long n = Zstd.decompress(raw, frame);
        check(!Zstd.isError(n), key, "zstd: " + Zstd.getErrorName(n));
        check(n == rawLength, key, "raw length differs");
        return raw;
    }

    /** Walks the frame header and the block headers of RFC 8878 up to the end of the frame, which must be that of the bytes. */
    private static void checkFrame(String key, byte[] frame, long rawLength) {
        Decoder d = new Decoder(key, ByteBuffer.wrap(frame).asReadOnlyBuffer());
        check(littleEndian(d, 4) == 0xFD2FB528L, key, "no zstd frame");
        int descriptor = d.u8();
        boolean single = (descriptor & 0x20) != 0;
        long window = 0;
        if (!single) {
            int w = d.u8();
            window = 1L << (10 + (w >> 3));
            window += window / 8 * (w & 7);
        }
        littleEndian(d, new int[] {0, 1, 2, 4}[descriptor & 3]); // dictionary id
        int sizeBytes = new int[] {single ? 1 : 0, 2, 4, 8}[descriptor >> 6];
        check(sizeBytes > 0, key, "zstd frame without a content size");
        long size = littleEndian(d, sizeBytes) + (sizeBytes == 2 ? 256 : 0);
        check(size == rawLength, key, "raw length differs");
        check((single ? size : window) <= 8 * MIB, key, "zstd window larger than allowed");
        long block;
        do {
            block = littleEndian(d, 3);
            d.bytes((block >> 1 & 3) == 1 ? 1 : block >> 3); // a run takes one byte
        } while ((block & 1) == 0);
        d.bytes((descriptor & 4) != 0 ? 4 : 0); // checksum
        d.end();
    }

    private static long littleEndian(Decoder d, int size) {
        long n = 0;
        for (int i = 0; i < size; i++) {
            n |= (long) d.u8() << (8 * i);
        }
        return n;
    }

    static void check(boolean ok, String key, String what) {
        if (!ok) {
            throw new Damage(key, what);
        }
    }

    static byte[] magic(String name) {
        return Arrays.copyOf((name + "\0\1").getBytes(StandardCharsets.ISO_8859_1), 8);
    }

    static boolean startsWith(byte[] object, byte[] magic) {
        return object.length >= magic.length && Arrays.equals(Arrays.copyOf(object, magic.length), magic);
    }

    static long u32(int n) {
        return Integer.toUnsignedLong(n);
    }

    static byte[] sha256(byte[] b) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(b);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    static int crc32c(byte[] b, int from) {
        CRC32C crc = new CRC32C();
        crc.update(b, from, b.length - from);
        return (int) crc.getValue();
    }

    static int compareBytes(String a, String b) {
        return Arrays.compareUnsigned(a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));
    }

    static String hex(byte[] b) {
        return HexFormat.of().formatHex(b);
    }

    static String hexOrNull(byte[] b) {
        return b == null ? "null" : "\"" + hex(b) + "\"";
    }

    static String uuid(byte[] id) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(id);
    }

    static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            switch (c) {
                case '"', '\\' -> b.append('\\').append(c);
                default -> b.append(c < 0x20 ? String.format("\\u%04x", (int) c) : c);
            }
        }
        return b.append('"').toString();
    }
}
