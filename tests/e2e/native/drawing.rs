//! A picture that is the same whenever it is drawn, of everything that an X
//! client draws with.

use qvd_tests::Result;
use x11rb::COPY_DEPTH_FROM_PARENT;
use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::protocol::render::{
    self, Color, ConnectionExt as _, CreatePictureAux, PictOp, Pointfix, Trapezoid,
};
use x11rb::protocol::xproto::{
    Arc, CapStyle, ConnectionExt as _, CoordMode, CreateGCAux, CreateWindowAux, EventMask,
    FillStyle, Gcontext, ImageFormat, JoinStyle, LineStyle, Point, PolyShape, Rectangle, Segment,
    WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Size of the window in pixels.
pub(super) const SIZE: (u16, u16) = (600, 440);

/// Where a photo is.
pub(super) const PHOTO: Rectangle = area(320, 20, 256, 160);

/// What nxagent draws by itself for RENDER, and sends as pictures.
pub(super) const RENDERED: Rectangle = area(230, 300, 310, 130);

const fn area(x: i16, y: i16, width: u16, height: u16) -> Rectangle {
    Rectangle {
        x,
        y,
        width,
        height,
    }
}

/// Drawn last: a patch of this colour in the corner below.
pub(super) const LAST: [u8; 3] = [0xff, 0x00, 0xa8];

/// The picture on a display; it stays as long as this does.
pub(super) struct Drawing {
    x: RustConnection,
    window: u32,
    gc: Gcontext,
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

impl Drawing {
    /// Opens a window on the display `name` of which this process has the
    /// cookie in `secret`, and draws.
    pub(super) fn on(number: u16, secret: Vec<u8>) -> Result<Self> {
        let drawing = Self::open(number, secret).and_then(|drawing| {
            drawing.draw()?;
            Ok(drawing)
        });
        drawing.map_err(|error| qvd_tests::Error::Invalid(format!("drawing: {error}")))
    }

    fn open(number: u16, secret: Vec<u8>) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let socket = std::os::unix::net::UnixStream::connect(format!("/tmp/.X11-unix/X{number}"))?;
        let (stream, _) = x11rb::rust_connection::DefaultStream::from_unix_stream(socket)?;
        let name = b"MIT-MAGIC-COOKIE-1".to_vec();
        let x = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, secret)?;
        let screen = x.setup().roots[0].clone();
        let (window, gc) = (x.generate_id()?, x.generate_id()?);
        let aux = CreateWindowAux::new()
            .background_pixel(screen.white_pixel)
            .override_redirect(1)
            .event_mask(EventMask::EXPOSURE);
        let (width, height) = SIZE;
        let class = WindowClass::INPUT_OUTPUT;
        let depth = COPY_DEPTH_FROM_PARENT;
        x.create_window(
            depth,
            window,
            screen.root,
            0,
            0,
            width,
            height,
            0,
            class,
            0,
            &aux,
        )?;
        x.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0))?;
        x.map_window(window)?;
        x.flush()?;
        while !matches!(x.wait_for_event()?, x11rb::protocol::Event::Expose(_)) {}
        Ok(Self { x, window, gc })
    }

    fn draw(&self) -> Drawn {
        self.shapes()?;
        self.text()?;
        self.images()?;
        self.render()?;
        let last = u32::from_be_bytes([0, LAST[0], LAST[1], LAST[2]]);
        self.fill(last, SIZE.0 - 20, SIZE.1 - 20, 20, 20)?;
        self.x.sync()?;
        Ok(())
    }

    /// Draws once more.
    pub(super) fn again(&self) -> Result<()> {
        self.draw()
            .map_err(|error| qvd_tests::Error::Invalid(format!("drawing: {error}")))
    }

    fn colour(&self, pixel: u32) -> Drawn {
        let aux = x11rb::protocol::xproto::ChangeGCAux::new().foreground(pixel);
        self.x.change_gc(self.gc, &aux)?;
        Ok(())
    }

    fn fill(&self, pixel: u32, x: u16, y: u16, width: u16, height: u16) -> Drawn {
        self.colour(pixel)?;
        let (x, y) = (x.try_into()?, y.try_into()?);
        let rectangle = Rectangle {
            x,
            y,
            width,
            height,
        };
        self.x
            .poly_fill_rectangle(self.window, self.gc, &[rectangle])?;
        Ok(())
    }

    /// Lines, arcs, polygons, dashes, stipples and copies.
    fn shapes(&self) -> Drawn {
        let (x, window, gc) = (&self.x, self.window, self.gc);
        for k in 0..40_i16 {
            self.colour(0x0010_2000 + u32::from(k.unsigned_abs()) * 0x0005_0306)?;
            let segment = Segment {
                x1: 10,
                y1: 10,
                x2: 10 + k * 7,
                y2: 150 - k,
            };
            x.poly_segment(window, gc, &[segment])?;
            let point = Point {
                x: 20 + k * 5,
                y: 155,
            };
            x.poly_point(CoordMode::ORIGIN, window, gc, &[point])?;
        }
        let wide = x.generate_id()?;
        let aux = CreateGCAux::new()
            .foreground(0x0080_2060)
            .line_width(5)
            .line_style(LineStyle::ON_OFF_DASH)
            .cap_style(CapStyle::ROUND)
            .join_style(JoinStyle::BEVEL)
            .graphics_exposures(0);
        x.create_gc(wide, window, &aux)?;
        x.set_dashes(wide, 3, &[12, 7, 3, 7])?;
        let star = [(200, 30), (290, 60), (210, 120), (250, 20), (280, 130)];
        let star = star.map(|(x, y)| Point { x, y });
        x.poly_line(CoordMode::ORIGIN, window, wide, &star)?;
        self.colour(0x0020_9050)?;
        x.fill_poly(
            window,
            gc,
            PolyShape::COMPLEX,
            CoordMode::ORIGIN,
            &star.map(|p| Point {
                x: p.x - 150,
                y: p.y + 40,
            }),
        )?;
        let arc = Arc {
            x: 120,
            y: 20,
            width: 70,
            height: 60,
            angle1: 30 * 64,
            angle2: 250 * 64,
        };
        x.poly_fill_arc(window, gc, &[arc])?;
        x.poly_arc(window, wide, &[Arc { y: 90, ..arc }])?;
        // A tile, and what was drawn once more beside it.
        let tile = x.generate_id()?;
        x.create_pixmap(24, tile, window, 8, 8)?;
        let eight = Rectangle {
            x: 0,
            y: 0,
            width: 8,
            height: 8,
        };
        self.colour(0x00c0_c040)?;
        x.poly_fill_rectangle(tile, gc, &[eight])?;
        self.colour(0x0040_40c0)?;
        x.poly_fill_arc(
            tile,
            gc,
            &[Arc {
                x: 0,
                y: 0,
                width: 8,
                height: 8,
                angle1: 0,
                angle2: 360 * 64,
            }],
        )?;
        let tiled = x.generate_id()?;
        let aux = CreateGCAux::new()
            .fill_style(FillStyle::TILED)
            .tile(tile)
            .graphics_exposures(0);
        x.create_gc(tiled, window, &aux)?;
        let area = Rectangle {
            x: 10,
            y: 170,
            width: 120,
            height: 50,
        };
        x.poly_fill_rectangle(window, tiled, &[area])?;
        x.copy_area(window, window, gc, 10, 10, 140, 170, 160, 60)?;
        x.clear_area(false, window, 150, 180, 20, 10)?;
        Ok(())
    }

    /// Core fonts in 8 and 16 bits.
    fn text(&self) -> Drawn {
        let (x, window) = (&self.x, self.window);
        let font = x.generate_id()?;
        x.open_font(font, b"fixed")?;
        let gc = x.generate_id()?;
        let aux = CreateGCAux::new()
            .font(font)
            .foreground(0x0000_0060)
            .background(0x00ff_f0c0)
            .graphics_exposures(0);
        x.create_gc(gc, window, &aux)?;
        for (k, line) in [
            "The quick brown fox",
            "jumps over the lazy dog",
            "0123456789 +-*/",
        ]
        .into_iter()
        .enumerate()
        {
            let y = 245 + 16 * i16::try_from(k)?;
            x.image_text8(window, gc, 10, y, line.as_bytes())?;
        }
        let mut items = vec![12, 2];
        items.extend(b"poly text 8.");
        x.poly_text8(window, gc, 10, 295, &items)?;
        let wide: Vec<_> = "sixteen bits"
            .bytes()
            .map(|byte2| x11rb::protocol::xproto::Char2b { byte1: 0, byte2 })
            .collect();
        x.image_text16(window, gc, 120, 295, &wide)?;
        Ok(())
    }

    /// A photo, a drawing of few colours, and a bitmap.
    fn images(&self) -> Drawn {
        let (width, height) = (PHOTO.width, PHOTO.height);
        let mut photo = Vec::new();
        for y in 0..u32::from(height) {
            for x in 0..u32::from(width) {
                let wave = (x * x / 97 + y * y / 61) % 256;
                let red = (x + wave / 4) % 256;
                let green = (255 - y + wave / 3) % 256;
                photo.extend((red << 16 | green << 8 | wave).to_le_bytes());
            }
        }
        self.put(PHOTO.x, PHOTO.y, width, height, &photo)?;
        let mut few = Vec::new();
        for y in 0..100_u32 {
            for x in 0..128_u32 {
                let colour = [0x00ff_ffff_u32, 0x0000_0000, 0x00ff_0000, 0x0000_80ff];
                let at = (x / 16 + y / 20) % 4;
                few.extend(colour[usize::try_from(at)?].to_le_bytes());
            }
        }
        self.put(320, 190, 128, 100, &few)?;
        let mut bitmap = Vec::new();
        for y in 0..32_u32 {
            bitmap.extend((0x0f0f_3355_u32.rotate_left(y)).to_le_bytes());
        }
        self.colour(0x0070_0020)?;
        self.x.put_image(
            ImageFormat::XY_BITMAP,
            self.window,
            self.gc,
            32,
            32,
            460,
            200,
            0,
            1,
            &bitmap,
        )?;
        Ok(())
    }

    /// In strips, as a client without BIG-REQUESTS has to.
    fn put(&self, x: i16, y: i16, width: u16, height: u16, data: &[u8]) -> Drawn {
        let line = usize::from(width) * 4;
        let lines = 64;
        for (k, strip) in data.chunks(line * lines).enumerate() {
            let top = y + i16::try_from(k * lines)?;
            let rows = u16::try_from(strip.len() / line)?.min(height);
            self.x.put_image(
                ImageFormat::Z_PIXMAP,
                self.window,
                self.gc,
                width,
                rows,
                x,
                top,
                0,
                24,
                strip,
            )?;
        }
        Ok(())
    }

    /// Pictures, trapezoids, gradients and transparency.
    fn render(&self) -> Drawn {
        let x = &self.x;
        if x.extension_information(render::X11_EXTENSION_NAME)?
            .is_none()
        {
            return Err("the session has no RENDER".into());
        }
        let formats = x.render_query_pict_formats()?.reply()?;
        let format = |depth: u8, alpha: u16| {
            let fits = |f: &&render::Pictforminfo| {
                f.depth == depth && f.direct.alpha_mask == alpha && f.direct.red_shift != 0
            };
            formats.formats.iter().find(fits).map(|f| f.id)
        };
        let rgb = format(24, 0).ok_or("no format of depth 24")?;
        let a8 = formats
            .formats
            .iter()
            .find(|f| f.depth == 8 && f.direct.alpha_mask == 255);
        let a8 = a8.ok_or("no format of depth 8")?.id;
        let picture = x.generate_id()?;
        x.render_create_picture(picture, self.window, rgb, &CreatePictureAux::new())?;
        let half = |red, green, blue| Color {
            red,
            green,
            blue,
            alpha: 0x8000,
        };
        x.render_fill_rectangles(
            PictOp::OVER,
            picture,
            half(0x8000, 0, 0),
            &[area(20, 320, 120, 60)],
        )?;
        x.render_fill_rectangles(
            PictOp::OVER,
            picture,
            half(0, 0, 0x8000),
            &[area(80, 350, 120, 60)],
        )?;
        let source = x.generate_id()?;
        x.render_create_solid_fill(source, half(0, 0x7000, 0x2000))?;
        let fixed = |v: i32| v << 16;
        let point = |x, y| Pointfix {
            x: fixed(x),
            y: fixed(y),
        };
        let trapezoid = Trapezoid {
            top: fixed(310),
            bottom: fixed(420) + 0x4000,
            left: render::Linefix {
                p1: point(230, 300),
                p2: point(260, 430),
            },
            right: render::Linefix {
                p1: point(300, 300),
                p2: point(350, 430),
            },
        };
        x.render_trapezoids(PictOp::OVER, source, picture, a8, 0, 0, &[trapezoid])?;
        let gradient = x.generate_id()?;
        x.render_create_linear_gradient(
            gradient,
            point(0, 0),
            point(160, 60),
            &[0, 0x8000, 0x1_0000],
            &[
                half(0x8000, 0x4000, 0),
                half(0, 0x8000, 0),
                half(0, 0, 0x8000),
            ],
        )?;
        x.render_composite(
            PictOp::OVER,
            gradient,
            x11rb::NONE,
            picture,
            0,
            0,
            0,
            0,
            370,
            310,
            160,
            60,
        )?;
        Ok(())
    }
}
