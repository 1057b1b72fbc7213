//! The contract of [`CertificateCache`](purgefront::ports::CertificateCache).

use super::Store;

stories!(
    a_certificate_is_kept_across_a_restart,
    a_certificate_is_replaced,
    only_the_newest_certificates_are_kept,
);

async fn keep(store: &Store, url: &str, pem: &str) {
    store.ports.keep_certificate(url, pem).await.unwrap();
}

async fn certificate(store: &Store, url: &str) -> Option<String> {
    store.ports.certificate(url).await.unwrap()
}

async fn a_certificate_is_kept_across_a_restart(store: Store) {
    assert_eq!(certificate(&store, "u1").await, None);
    keep(&store, "u1", "one").await;
    keep(&store, "u2", "two").await;
    let store = store.reopened().await;
    assert_eq!(certificate(&store, "u1").await.as_deref(), Some("one"));
    assert_eq!(certificate(&store, "u2").await.as_deref(), Some("two"));
    assert_eq!(certificate(&store, "u3").await, None);
}

async fn a_certificate_is_replaced(store: Store) {
    keep(&store, "u1", "one").await;
    keep(&store, "u1", "another").await;
    assert_eq!(certificate(&store, "u1").await.as_deref(), Some("another"));
}

async fn only_the_newest_certificates_are_kept(store: Store) {
    const KEPT: usize = 500;
    keep(&store, "renewed", "old").await;
    for at in 0..KEPT {
        store.pass(1);
        keep(&store, &format!("u{at}"), "pem").await;
        if at == KEPT - 5 {
            keep(&store, "renewed", "new").await;
        }
    }
    let mut left = Vec::new();
    for at in 0..KEPT {
        if certificate(&store, &format!("u{at}")).await.is_some() {
            left.push(at);
        }
    }
    assert!((4..200).contains(&left.len()), "{} are kept", left.len());
    let newest: Vec<_> = (KEPT - left.len()..KEPT).collect();
    assert_eq!(left, newest);
    assert_eq!(certificate(&store, "renewed").await.as_deref(), Some("new"));
}
