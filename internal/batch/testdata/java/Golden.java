import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.compress.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.BufferSupplier;

/**
 * Writes the golden batches beside it, with Kafka's own code (kafka-clients 4.3.1). They were made once and are not to
 * be made again: java -cp 'kafka-clients.jar:lz4-java.jar:snappy-java.jar:zstd-jni.jar:slf4j-api.jar' Golden.java
 */
public class Golden {
    static final long BASE = 1_700_000_000_000L;

    public static void main(String[] args) throws Exception {
        Map<String, Compression> codecs = new LinkedHashMap<>();
        codecs.put("none", Compression.NONE);
        codecs.put("gzip", Compression.gzip().build());
        codecs.put("snappy", Compression.snappy().build());
        codecs.put("lz4", Compression.lz4().build());
        codecs.put("zstd", Compression.zstd().build());
        codecs.put("zstd-22", Compression.zstd().level(22).build());
        for (var codec : codecs.entrySet()) {
            write(codec.getKey(), records(codec.getValue(), TimestampType.CREATE_TIME));
            write(codec.getKey() + "-compacted", compact(records(codec.getValue(), TimestampType.CREATE_TIME), true));
        }
        write("append-time", records(Compression.lz4().build(), TimestampType.LOG_APPEND_TIME));
        write("emptied", compact(records(Compression.gzip().build(), TimestampType.CREATE_TIME), false));
        write("abort", MemoryRecords.withEndTransactionMarker(500, BASE, 4, 77, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 12)).buffer());
        write("commit", MemoryRecords.withEndTransactionMarker(501, BASE, 4, 77, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 13)).buffer());
    }

    /** Six records from offset 1000 on; the value of the last is 100,000 bytes, above any codec's block. */
    static ByteBuffer records(Compression codec, TimestampType type) {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, codec,
            type, 1000, BASE + 99, 77, (short) 3, 40, false, 4);
        b.append(BASE, (byte[]) null, null, new Header[0]);
        b.append(BASE + 1, new byte[0], new byte[0], new Header[0]);
        b.append(BASE + (1L << 31), "key".getBytes(), "value".getBytes(), new Header[] {
            new RecordHeader("a", (byte[]) null), new RecordHeader("a", new byte[0]), new RecordHeader("", new byte[] {(byte) 0xff})});
        b.append(0, "key".getBytes(), null, new Header[0]);
        b.append(1L << 62, (byte[]) null, "far away".getBytes(), new Header[0]);
        byte[] large = new byte[100_000];
        for (int i = 0; i < large.length; i++) large[i] = (byte) (i / 7);
        b.append(BASE, (byte[]) null, large, new Header[0]);
        return b.build().buffer();
    }

    /** What the log cleaner leaves: the records at offsets 1002 and 1003, or none; with a delete horizon. */
    static ByteBuffer compact(ByteBuffer batch, boolean some) {
        ByteBuffer out = ByteBuffer.allocate(1 << 20);
        var filter = new MemoryRecords.RecordFilter(BASE, 60_000) {
            @Override protected BatchRetentionResult checkBatchRetention(RecordBatch b) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }
            @Override protected boolean shouldRetainRecord(RecordBatch b, org.apache.kafka.common.record.internal.Record r) {
                return some && (r.offset() == 1002 || r.offset() == 1003);
            }
        };
        MemoryRecords.readableRecords(batch).filterTo(filter, out, BufferSupplier.NO_CACHING);
        out.flip();
        return out;
    }

    static void write(String name, ByteBuffer batch) throws Exception {
        byte[] bytes = new byte[batch.remaining()];
        batch.duplicate().get(bytes);
        Files.write(Path.of(name + ".batch"), bytes);
    }
}
