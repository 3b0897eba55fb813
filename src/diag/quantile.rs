//! A quantile of a histogram, computed as Prometheus's `histogram_quantile` does.

/// One bucket: its upper bound (`le`) and the number of observations that are at or below
/// it. Counts are cumulative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The upper bound, included; infinite in the last bucket.
    pub le: f64,
    /// The number of observations up to the bound.
    pub count: f64,
}

/// Returns the value below which the part `q` (0 to 1) of all observations lies. It is
/// `None` when nothing was observed, or when the histogram has no last bucket without a
/// bound (`+Inf`).
///
/// Within a bucket, observations are taken to be spread evenly. The first bucket begins
/// at 0 when its bound is positive. For a quantile in the bucket `+Inf`, the result is
/// the highest finite bound, since nothing more is known.
/// <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>
pub fn quantile(q: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut buckets = buckets.to_vec();
    buckets.sort_by(|a, b| a.le.total_cmp(&b.le));
    buckets.dedup_by(|next, kept| {
        let same = next.le == kept.le;
        if same {
            kept.count += next.count;
        }
        same
    });
    let last = *buckets.last()?;
    if last.le != f64::INFINITY || buckets.len() < 2 {
        return None;
    }
    // The counters of several series are read one after the other, so that the count of a
    // higher bound may seem smaller than that of a lower one, which is impossible.
    let mut most = 0.0_f64;
    for bucket in &mut buckets {
        most = most.max(bucket.count);
        bucket.count = most;
    }
    let total = most;
    if total.is_nan() || total <= 0.0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let rank = q * total;
    let at = buckets
        .iter()
        .position(|b| b.count >= rank)
        .unwrap_or(buckets.len() - 1);
    if at == buckets.len() - 1 {
        return Some(buckets[at - 1].le);
    }
    let end = buckets[at].le;
    if at == 0 && end <= 0.0 {
        return Some(end);
    }
    let (start, below) = match at {
        0 => (0.0, 0.0),
        _ => (buckets[at - 1].le, buckets[at - 1].count),
    };
    let within = buckets[at].count - below;
    if within <= 0.0 {
        // This is only reached for a rank of 0 in an empty first bucket.
        return Some(start);
    }
    Some(start + (end - start) * ((rank - below) / within))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn of(buckets: &[(f64, f64)]) -> Vec<Bucket> {
        buckets
            .iter()
            .map(|&(le, count)| Bucket { le, count })
            .collect()
    }

    #[track_caller]
    fn assert_near(found: Option<f64>, wanted: f64) {
        let found = found.unwrap();
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    /// The expected values are those that Prometheus computes for the same buckets.
    #[test]
    fn values_are_those_of_prometheus() {
        let buckets = of(&[(0.1, 50.0), (0.5, 90.0), (1.0, 99.0), (INF, 100.0)]);
        assert_near(quantile(0.5, &buckets), 0.1);
        assert_near(quantile(0.25, &buckets), 0.05);
        assert_near(quantile(0.9, &buckets), 0.5);
        assert_near(quantile(0.95, &buckets), 0.5 + 0.5 * 5.0 / 9.0);
        assert_near(quantile(0.99, &buckets), 1.0);
        assert_near(quantile(0.0, &buckets), 0.0);
        // The quantile is above every finite bound, so the result is the largest one.
        assert_near(quantile(0.999, &buckets), 1.0);
        assert_near(quantile(1.0, &buckets), 1.0);
    }

    #[test]
    fn all_in_one_bucket() {
        assert_near(
            quantile(0.99, &of(&[(1.0, 0.0), (2.0, 7.0), (INF, 7.0)])),
            1.99,
        );
        assert_near(
            quantile(0.99, &of(&[(1.0, 0.0), (2.0, 0.0), (INF, 3.0)])),
            2.0,
        );
        assert_near(quantile(0.99, &of(&[(1.0, 4.0), (INF, 4.0)])), 0.99);
        assert_near(quantile(0.5, &of(&[(-1.0, 4.0), (INF, 4.0)])), -1.0);
    }

    #[test]
    fn nothing_observed_has_no_quantile() {
        assert_eq!(quantile(0.99, &[]), None);
        assert_eq!(quantile(0.99, &of(&[(1.0, 0.0), (INF, 0.0)])), None);
        assert_eq!(quantile(0.99, &of(&[(INF, 4.0)])), None);
        assert_eq!(quantile(0.99, &of(&[(1.0, 4.0), (2.0, 5.0)])), None);
        assert_eq!(quantile(1.01, &of(&[(1.0, 4.0), (INF, 4.0)])), None);
        assert_eq!(
            quantile(0.5, &of(&[(1.0, f64::NAN), (INF, f64::NAN)])),
            None
        );
    }

    #[test]
    fn series_are_summed_and_put_in_order() {
        let buckets = of(&[
            (INF, 10.0),
            (1.0, 5.0),
            (0.5, 5.0),
            (0.5, 3.0),
            (INF, 10.0),
            (1.0, 5.0),
        ]);
        assert_near(quantile(0.5, &buckets), 1.0);
        // A count that is smaller than the one before it is raised to that one.
        assert_near(
            quantile(0.5, &of(&[(1.0, 4.0), (2.0, 3.0), (INF, 4.0)])),
            0.5,
        );
    }
}
