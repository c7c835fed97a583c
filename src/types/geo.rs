//! Places on the earth as scores of a sorted set: geohashes of 52 bits. Must not know sorted sets.
//!
//! A geohash halves the range of longitudes and of latitudes by turns, so places in one square
//! share their first bits, and a square is a range of scores. The projection's limits, the radius
//! of the earth and the choice of squares for a search are those of Redis (`geohash.c`,
//! `geohash_helper.c`): scores are stored, and searches without an order answer square by square.

use std::ops::Range;

const LONGITUDE_MAX: f64 = 180.0;
/// Of the Web Mercator projection.
const LATITUDE_MAX: f64 = 85.05112878;

/// Times that each range is halved for a score: 52 bits in all, which a double holds exactly.
const STEP_MAX: u32 = 26;

/// In metres.
const EARTH_RADIUS: f64 = 6372797.560856;
/// Half of the equator's length in the Mercator projection, in metres.
const MERCATOR_MAX: f64 = 20037726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

impl Point {
    pub fn is_valid(&self) -> bool {
        let Point { longitude, latitude } = *self;
        (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude)
            && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude)
    }

    /// The place as a score; it must be valid.
    pub fn score(&self) -> f64 {
        Square::around(*self, STEP_MAX, LATITUDE_MAX).bits as f64
    }

    /// About the place that has this score; any number gives a valid place.
    pub fn of_score(score: f64) -> Point {
        Square { bits: score as u64, step: STEP_MAX }.area().middle()
    }

    /// The geohash of 11 characters that other programs use, which know latitudes up to 90 degrees
    /// and have 55 bits: the last character is always the first letter.
    pub fn hash_text(&self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Square::around(*self, STEP_MAX, 90.0).bits;
        std::array::from_fn(|index| match index {
            10 => ALPHABET[0],
            _ => ALPHABET[(bits >> (52 - (index + 1) * 5)) as usize & 31],
        })
    }

    /// Metres along the surface (the haversine formula).
    pub fn distance(&self, to: Point) -> f64 {
        let v = ((to.longitude * DEGREE - self.longitude * DEGREE) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance(to.latitude);
        }
        let (from_latitude, to_latitude) = (self.latitude * DEGREE, to.latitude * DEGREE);
        let u = ((to_latitude - from_latitude) / 2.0).sin();
        let a = u * u + from_latitude.cos() * to_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    fn latitude_distance(&self, to: f64) -> f64 {
        EARTH_RADIUS * (to * DEGREE - self.latitude * DEGREE).abs()
    }
}

/// Bits of alternating halvings, latitude in the even ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Square {
    bits: u64,
    /// How often each range was halved.
    step: u32,
}

#[derive(Clone, Copy, Debug)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Area {
    fn middle(&self) -> Point {
        let longitude = (self.west + self.east) / 2.0;
        let latitude = (self.south + self.north) / 2.0;
        Point {
            longitude: longitude.clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }
}

/// Moves the low 32 bits to the even places (Anderson, Bit Twiddling Hacks).
fn spread(number: u32) -> u64 {
    let mut x = number as u64;
    x = (x | x << 16) & 0x0000_FFFF_0000_FFFF;
    x = (x | x << 8) & 0x00FF_00FF_00FF_00FF;
    x = (x | x << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & 0x5555_5555_5555_5555
}

/// Takes the bits in the even places.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    x = (x | x >> 1) & 0x3333_3333_3333_3333;
    x = (x | x >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    x = (x | x >> 4) & 0x00FF_00FF_00FF_00FF;
    x = (x | x >> 8) & 0x0000_FFFF_0000_FFFF;
    (x | x >> 16) as u32
}

impl Square {
    fn around(point: Point, step: u32, latitude_max: f64) -> Square {
        let cells = (1u64 << step) as f64;
        let latitude = (point.latitude + latitude_max) / (2.0 * latitude_max) * cells;
        let longitude = (point.longitude + LONGITUDE_MAX) / (2.0 * LONGITUDE_MAX) * cells;
        Square { bits: spread(latitude as u32) | spread(longitude as u32) << 1, step }
    }

    fn area(&self) -> Area {
        let cells = (1u64 << self.step) as f64;
        let latitude = |n: f64| -LATITUDE_MAX + n / cells * (2.0 * LATITUDE_MAX);
        let longitude = |n: f64| -LONGITUDE_MAX + n / cells * (2.0 * LONGITUDE_MAX);
        let (row, column) = (gather(self.bits) as f64, gather(self.bits >> 1) as f64);
        Area {
            west: longitude(column),
            east: longitude(column + 1.0),
            south: latitude(row),
            north: latitude(row + 1.0),
        }
    }

    /// The square so many columns to the east and rows to the north, around the earth.
    fn neighbour(&self, east: i32, north: i32) -> Square {
        let mask = ((1u64 << self.step) - 1) as u32;
        let moved = |n: u32, by: i32| if by == 0 { n } else { n.wrapping_add_signed(by) & mask };
        let column = moved(gather(self.bits >> 1), east);
        let row = moved(gather(self.bits), north);
        Square { bits: spread(row) | spread(column) << 1, step: self.step }
    }

    /// The scores of the places in it.
    fn scores(&self) -> Range<f64> {
        let shift = 2 * (STEP_MAX - self.step);
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }
}

/// What is searched, around a point. Lengths are in metres.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Shape {
    /// The distance of a point from the centre, if it is within the shape.
    pub fn distance_within(&self, centre: Point, point: Point) -> Option<f64> {
        match *self {
            Shape::Circle { radius } => {
                let distance = centre.distance(point);
                (distance <= radius).then_some(distance)
            }
            Shape::Box { width, height } => {
                if point.latitude_distance(centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Point { longitude: centre.longitude, latitude: point.latitude };
                if point.distance(beside) > width / 2.0 {
                    return None;
                }
                Some(centre.distance(point))
            }
        }
    }

    /// How far it reaches.
    fn radius(&self) -> f64 {
        match *self {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                let (x, y) = (width / 2.0, height / 2.0);
                (x * x + y * y).sqrt()
            }
        }
    }

    /// The degrees it covers.
    fn bounds(&self, centre: Point) -> Area {
        let (x, y) = match *self {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Point { longitude, latitude } = centre;
        let rows = y / EARTH_RADIUS / DEGREE;
        // A degree of longitude is shorter the nearer the pole is.
        let nearer_pole = if latitude < 0.0 { latitude - rows } else { latitude + rows };
        let columns = x / EARTH_RADIUS / (nearer_pole * DEGREE).cos() / DEGREE;
        Area {
            west: longitude - columns,
            east: longitude + columns,
            south: latitude - rows,
            north: latitude + rows,
        }
    }

    /// The ranges of scores in which all places within the shape are, as they are to be searched.
    /// A range may come twice where the squares go around the earth.
    pub fn ranges(&self, centre: Point) -> Vec<Range<f64>> {
        let bounds = self.bounds(centre);
        let mut step = step_for(self.radius(), centre.latitude);
        let mut square = Square::around(centre, step, LATITUDE_MAX);
        if step > 1 && !reaches(&square, &bounds) {
            step -= 1;
            square = Square::around(centre, step, LATITUDE_MAX);
        }
        let area = square.area();
        // Those the shape does not reach are left out, if the squares are not too coarse to tell.
        let fine = step >= 2;
        let north = !(fine && area.north > bounds.north);
        let south = !(fine && area.south < bounds.south);
        let east = !(fine && area.east > bounds.east);
        let west = !(fine && area.west < bounds.west);
        let around = [
            (true, 0, 0),
            (north, 0, 1),
            (south, 0, -1),
            (east, 1, 0),
            (west, -1, 0),
            (north && east, 1, 1),
            (north && west, -1, 1),
            (south && east, 1, -1),
            (south && west, -1, -1),
        ];
        let mut squares: Vec<Square> = Vec::with_capacity(around.len());
        for (_, east, north) in around.into_iter().filter(|(wanted, ..)| *wanted) {
            let neighbour = square.neighbour(east, north);
            // As Redis has it, the first square is searched again if it is the second, too.
            if squares.len() < 2 || squares.last() != Some(&neighbour) {
                squares.push(neighbour);
            }
        }
        squares.iter().map(Square::scores).collect()
    }
}

/// How often to halve the world so that a square and its neighbours cover a radius in metres.
fn step_for(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEP_MAX;
    }
    let mut radius = radius;
    let mut step = 1;
    while radius < MERCATOR_MAX {
        radius *= 2.0;
        step += 1;
    }
    step -= 2;
    // Squares are narrower towards the poles.
    if latitude.abs() > 66.0 {
        step -= 1;
        if latitude.abs() > 80.0 {
            step -= 1;
        }
    }
    step.clamp(1, STEP_MAX as i32) as u32
}

/// Whether a square's four neighbours reach as far as the bounds.
fn reaches(square: &Square, bounds: &Area) -> bool {
    square.neighbour(0, 1).area().north >= bounds.north
        && square.neighbour(0, -1).area().south <= bounds.south
        && square.neighbour(1, 0).area().east >= bounds.east
        && square.neighbour(-1, 0).area().west <= bounds.west
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Point = Point { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Point = Point { longitude: 15.087269, latitude: 37.502669 };

    #[test]
    fn scores_hashes_and_distances_are_those_of_the_documentation() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698.0);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909.0);
        let (palermo, catania) =
            (Point::of_score(PALERMO.score()), Point::of_score(CATANIA.score()));
        assert_eq!(&palermo.hash_text(), b"sqc8b49rny0");
        assert_eq!(&catania.hash_text(), b"sqdtr74hyu0");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    }

    #[test]
    fn bits_are_spread_and_gathered() {
        for number in [0, 1, 0b1011, 0x8000_0001, u32::MAX] {
            assert_eq!(gather(spread(number)), number);
            assert_eq!(gather(spread(number) >> 1), 0);
        }
        assert_eq!(spread(0b1011), 0b100_0101);
    }

    #[test]
    fn the_edges_of_the_world_have_scores_and_neighbours() {
        for longitude in [-LONGITUDE_MAX, 0.0, LONGITUDE_MAX] {
            for latitude in [-LATITUDE_MAX, 0.0, LATITUDE_MAX] {
                let point = Point { longitude, latitude };
                let again = Point::of_score(point.score());
                assert!(point.distance(again) < 1.0, "{point:?} {again:?}");
                for radius in [0.0, 1.0, 1e5, 1e7, 1e9, f64::MAX, f64::INFINITY] {
                    let shape = Shape::Circle { radius };
                    let ranges = shape.ranges(point);
                    assert!(!ranges.is_empty() && ranges.len() <= 9);
                }
            }
        }
        for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            assert!(Point::of_score(score).is_valid(), "{score}");
        }
    }

    /// Where nothing wraps around the earth, all within the shape is within the ranges.
    #[test]
    fn no_place_within_a_shape_is_missed() {
        let mut rng = crate::base::rng::Rng::from_seed(7);
        let mut between =
            |low: f64, high: f64| low + (high - low) * rng.index(1_000_001) as f64 / 1_000_000.0;
        for _ in 0..2000 {
            let centre =
                Point { longitude: between(-150.0, 150.0), latitude: between(-75.0, 75.0) };
            let radius = 10f64.powf(between(0.0, 6.0));
            let shapes = [
                Shape::Circle { radius },
                Shape::Box { width: radius, height: between(1.0, 2.0) * radius },
            ];
            let reach = radius / 111_000.0;
            for shape in shapes {
                let ranges = shape.ranges(centre);
                for _ in 0..20 {
                    let point = Point {
                        longitude: centre.longitude + between(-reach, reach),
                        latitude: (centre.latitude + between(-reach, reach)).clamp(-85.0, 85.0),
                    };
                    if shape.distance_within(centre, point).is_some() {
                        let score = point.score();
                        let found = ranges.iter().any(|range| range.contains(&score));
                        assert!(found, "{shape:?} around {centre:?} misses {point:?}");
                    }
                }
            }
        }
    }
}
