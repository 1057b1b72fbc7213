//! Parses a message's text as S3 records: every record is parsed, or kept unmodified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purgefront::domain::s3_event::{Notification, read};
use serde_json::Value;

fuzz_target!(|message: &str| {
    let read = read(message);
    // Records are read one by one, so what is wrong in one, or in a member that is not used, need not be read.
    let Ok(seen) = serde_json::from_str::<Value>(message) else {
        return;
    };
    match read {
        Notification::Records(read) => {
            // An EventBridge event is a single record with other fields.
            let Some(records) = seen["Records"].as_array() else {
                assert_eq!((read.len(), &seen["source"]), (1, &"aws.s3".into()));
                return;
            };
            assert_eq!(read.len(), records.len());
            for (read, record) in read.into_iter().zip(records) {
                match read {
                    Ok(change) => {
                        assert!(!change.key.is_empty() && !change.bucket.is_empty());
                        assert_eq!(record["s3"]["bucket"]["name"], change.bucket.as_str());
                        let event = record["eventName"].as_str().expect("a name");
                        assert_eq!(event.strip_prefix("s3:").unwrap_or(event), change.event);
                    }
                    Err(bad) => {
                        assert!(message.contains(&bad.record));
                        assert_eq!(
                            &serde_json::from_str::<Value>(&bad.record).expect("JSON"),
                            record
                        );
                        assert!(!bad.why.is_empty());
                    }
                }
            }
        }
        Notification::Test { bucket } => assert_eq!(seen["Bucket"], bucket.as_str()),
        Notification::Unrelated => assert_eq!(seen["source"], "aws.s3"),
        Notification::Foreign(why) => assert!(!why.is_empty()),
    }
});
