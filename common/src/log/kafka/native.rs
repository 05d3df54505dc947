//! What the safe wrapper of librdkafka lacks: reading records by the batch from one queue of all partitions, a topic's id, and
//! Java's partitioner. The only unsafe code of the Kafka log; it decides nothing.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr, slice,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    bindings as native,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};

use crate::position::Partition;

/// A queue of librdkafka. Must not outlive the consumer that it was made of, which its owner sees to.
#[derive(Debug)]
pub(super) struct Queue {
    queue: *mut native::rd_kafka_queue_t,
    /// What [`Queue::on_records`] was given; it lives until the queue is gone. No `Box`, which would say that nobody else
    /// points to it.
    wake: Option<Arc<Wake>>,
}

struct Wake(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Queue {
    /// A new queue of `consumer`.
    pub(super) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        // SAFETY: the client is alive as long as `consumer` is borrowed.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue, wake: None }
    }

    /// The queue that `consumer` is polled by.
    pub(super) fn of<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        // SAFETY: as above; a consumer with a group has such a queue.
        let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self { queue, wake: None }
    }

    /// The queue of what `client`, which is in no group, is told; it is polled by this one.
    pub(super) fn told<C: ConsumerContext>(client: &BaseConsumer<C>) -> Self {
        // SAFETY: as above; every client has such a queue.
        let queue = unsafe { native::rd_kafka_queue_get_main(client.client().native_ptr()) };
        Self { queue, wake: None }
    }

    /// Whether nothing waits in it.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is alive.
        unsafe { native::rd_kafka_queue_length(self.queue) == 0 }
    }

    /// Calls `wake`, on a thread of librdkafka, whenever records come into the empty queue.
    pub(super) fn on_records(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        unsafe extern "C" fn call(_: *mut native::rd_kafka_t, wake: *mut c_void) {
            // SAFETY: it is the `Wake` given below, which lives until this callback has been taken back. It is shared, and
            // may be called on any thread.
            unsafe { (*wake.cast::<Wake>()).0() }
        }
        let wake = Arc::new(Wake(Box::new(wake)));
        let opaque = Arc::as_ptr(&wake).cast_mut().cast();
        // SAFETY: the queue is alive. `opaque` is only read, and is kept below. What was given before is dropped after this call,
        // which waits until a callback that is under way has returned: librdkafka holds the queue's lock in both.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue, Some(call), opaque) };
        self.wake = Some(wake);
    }

    /// Lets the records of one partition come into this queue from now on.
    pub(super) fn take_partition<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partition: Partition,
    ) {
        let topic = CString::new(topic).expect("a topic that has partitions has no NUL in its name");
        // SAFETY: the client is alive as long as `consumer` is borrowed; the partition's queue is given back at once, and
        // the forwarding stays with the partition, which counts itself among the owners of this queue.
        unsafe {
            let client = consumer.client().native_ptr();
            let of_partition = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition.0 as i32);
            if !of_partition.is_null() {
                native::rd_kafka_queue_forward(of_partition, self.queue);
                native::rd_kafka_queue_destroy(of_partition);
            }
        }
    }

    /// Moves what waits to the end of `into`, at most its spare capacity. Does not wait.
    pub(super) fn drain_into(&self, into: &mut Vec<Message>) {
        let spare = into.spare_capacity_mut();
        let (messages, size) = (spare.as_mut_ptr().cast::<*mut native::rd_kafka_message_t>(), spare.len());
        // SAFETY: the queue is alive. `Message` is a transparent pointer, and librdkafka writes at most `size` of them, each of a
        // message that is the caller's from now on.
        let count = unsafe { native::rd_kafka_consume_batch_queue(self.queue, 0, messages, size) };
        if let Ok(count) = usize::try_from(count) {
            // SAFETY: so many were written, from the end of `into` on; on an error it is -1, which is no `usize`.
            unsafe { into.set_len(into.len() + count) };
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive until here. Taking the callback back waits for one that is under way, and `wake` is dropped
        // after this.
        unsafe {
            if self.wake.is_some() {
                native::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            }
            native::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// The id of `topic`, in base 64; `None` if the brokers give topics none. Waits for the answer, at most so long.
pub(super) fn topic_id<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, KafkaError> {
    let name = CString::new(topic).map_err(KafkaError::Nul)?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let queue = Queue::new(client);
    // SAFETY: the client is alive as long as `client` is borrowed. What is made here is destroyed here, the event last, since the
    // answer is its. Nothing but this answer comes into the queue, which nobody else knows. An answer that comes too late finds the
    // queue disowned, not gone.
    unsafe {
        let api = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client.client().native_ptr(), api);
        native::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let mut names = [name.as_ptr()];
        let asked = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        native::rd_kafka_DescribeTopics(client.client().native_ptr(), asked, options, queue.queue);
        native::rd_kafka_TopicCollection_destroy(asked);
        native::rd_kafka_AdminOptions_destroy(options);
        let event = native::rd_kafka_queue_poll(queue.queue, timeout_ms);
        if event.is_null() {
            return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
        }
        let id = described_id(event);
        native::rd_kafka_event_destroy(event);
        id
    }
}

/// # Safety
/// `event` answers the description of one topic.
unsafe fn described_id(event: *mut native::rd_kafka_event_t) -> Result<Option<String>, KafkaError> {
    let failed = |error: RDKafkaRespErr| KafkaError::AdminOp(error.into());
    // SAFETY: as the caller says; all that is pointed to belongs to the event.
    unsafe {
        let error = native::rd_kafka_event_error(event);
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(error));
        }
        let mut count = 0;
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count != 1 {
            return Err(failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG));
        }
        let error = native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(*topics));
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(error));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(*topics);
        let halves =
            [native::rd_kafka_Uuid_most_significant_bits(id), native::rd_kafka_Uuid_least_significant_bits(id)];
        let text = native::rd_kafka_Uuid_base64str(id);
        let is_given = halves != [0, 0] && !text.is_null();
        Ok(is_given.then(|| CStr::from_ptr(text).to_string_lossy().into_owned()))
    }
}

/// A record or an error, in librdkafka's memory.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Message(*mut native::rd_kafka_message_t);

impl Message {
    fn inner(&self) -> &native::rd_kafka_message_t {
        // SAFETY: librdkafka has given it out (`drain_into` is where all are from), and it is ours until it is dropped. Nobody
        // changes it meanwhile.
        unsafe { &*self.0 }
    }

    /// The error that this is, if it is no record.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.inner().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    /// Its partition; `None` for an error that is of none.
    pub(super) fn partition(&self) -> Option<Partition> {
        u32::try_from(self.inner().partition).ok().map(Partition)
    }

    /// Its offset; `None` for an error without one.
    pub(super) fn offset(&self) -> Option<u64> {
        u64::try_from(self.inner().offset).ok()
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        let message = self.inner();
        // SAFETY: librdkafka says where the key is, and keeps it as long as the message.
        unsafe { bytes(message.key, message.key_len) }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        let message = self.inner();
        // SAFETY: as for the key.
        unsafe { bytes(message.payload, message.len) }
    }

    /// Milliseconds since 1970-01-01 UTC; negative if the record has no time stamp.
    pub(super) fn timestamp_ms(&self) -> i64 {
        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is ours.
        unsafe { native::rd_kafka_message_timestamp(self.0, &raw mut kind) }
    }

    /// Its headers, copied. A header without a value has an empty one.
    pub(super) fn headers(&self) -> Vec<(String, Bytes)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is ours, and its headers live as long as it does.
        unsafe {
            if native::rd_kafka_message_headers(self.0, &raw mut headers) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                return Vec::new();
            }
            (0..native::rd_kafka_header_cnt(headers)).map(|index| header(headers, index)).collect()
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it is ours, and given back once.
        unsafe { native::rd_kafka_message_destroy(self.0) }
    }
}

/// # Safety
/// `at` is null, or the start of `length` bytes that live as long as the answer.
unsafe fn bytes<'a>(at: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast(), length) })
}

/// # Safety
/// `headers` has more than `index` headers, and lives as long as this call.
unsafe fn header(headers: *const native::rd_kafka_headers_t, index: usize) -> (String, Bytes) {
    let (mut name, mut value, mut length): (*const c_char, _, _) = (ptr::null(), ptr::null(), 0);
    // SAFETY: as the caller says; name and value live as long as the headers, and are set where there is such a header. A name
    // ends with NUL.
    unsafe {
        native::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length);
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        (name, bytes(value, length).map(Bytes::copy_from_slice).unwrap_or_default())
    }
}

/// The partition of a key, as Java's clients choose it: murmur2 without its sign, modulo `partitions`.
///
/// # Panics
/// If there are no partitions: a topic has one at least.
pub(super) fn partition_of_key(key: &[u8], partitions: u32) -> Partition {
    let count = i32::try_from(partitions).expect("Kafka counts partitions in i32");
    assert!(count > 0, "a topic has partitions");
    // SAFETY: this partitioner looks at nothing but the key and the count, which it divides by.
    let partition = unsafe {
        native::rd_kafka_msg_partitioner_murmur2(
            ptr::null(),
            key.as_ptr().cast(),
            key.len(),
            count,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    Partition(u32::try_from(partition).expect("a remainder is not negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: murmur2 of Kafka's own tests (`UtilsTest.testMurmur2`), without the sign, modulo a billion.
    #[test]
    fn a_key_has_the_partition_that_java_gives_it() {
        let hashes = [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)];
        for (key, hash) in hashes {
            let partition = partition_of_key(key.as_bytes(), 1_000_000_000).0;
            assert_eq!(partition, (hash & i32::MAX) as u32 % 1_000_000_000, "{key}");
        }
    }
}
