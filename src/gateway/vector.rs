//! Vectors of length 1 in a byte a value, and how near they are to each other.

/// A vector of length 1: values of −127 to 127, each times `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    values: Box<[i8]>,
    scale: f32,
}

impl Vector {
    /// The nearest to a vector of length 1, each value within 1/254 of the largest; of zeros where that has no direction.
    pub fn new(exact: &[f32]) -> Self {
        let largest = exact.iter().fold(0f32, |max, x| max.max(x.abs()));
        let scale = largest / 127.0;
        let quantised = |x: &f32| match scale > 0.0 {
            // Saturates, and takes what is no number for 0.
            true => (x / scale).round() as i8,
            false => 0,
        };
        Self {
            values: exact.iter().map(quantised).collect(),
            scale,
        }
    }

    /// The cosine of the angle between the two, within 0.01; 0 where they have not as many values.
    pub fn cosine(&self, other: &Self) -> f32 {
        if self.values.len() != other.values.len() {
            return 0.0;
        }
        let pairs = self.values.iter().zip(&other.values);
        let products = pairs.map(|(a, b)| i32::from(*a) * i32::from(*b));
        products.sum::<i32>() as f32 * self.scale * other.scale
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(values: Vec<f32>) -> Vec<f32> {
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
        values.iter().map(|x| x / norm.max(1e-9)).collect()
    }

    #[test]
    fn what_has_no_direction_is_near_to_nothing() {
        let one = Vector::new(&[1.0, 0.0]);
        assert_eq!(Vector::new(&[0.0, 0.0]).cosine(&one), 0.0);
        assert_eq!(Vector::new(&[1.0]).cosine(&one), 0.0);
        assert_eq!(Vector::new(&[f32::NAN, 1.0]).cosine(&one), 0.0);
    }

    proptest! {
        #[test]
        fn the_cosine_is_that_of_the_exact_vectors(
            a in prop::collection::vec(-1f32..1.0, 384),
            b in prop::collection::vec(-1f32..1.0, 384),
            blend in 0f32..1.0,
        ) {
            let near: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + blend * b).collect();
            let (a, near) = (unit(a), unit(near));
            let exact: f32 = a.iter().zip(&near).map(|(a, b)| a * b).sum();
            let cosine = Vector::new(&a).cosine(&Vector::new(&near));
            prop_assert!((cosine - exact).abs() < 0.01, "{cosine} for {exact}");
        }
    }
}
