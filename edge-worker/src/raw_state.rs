//! Bindings for the parts of an object's state that the `worker` crate does not bind.

use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};
use worker::{
    State,
    js_sys::{Date, Uint8Array},
    worker_sys::web_sys,
};

#[wasm_bindgen]
extern "C" {
    pub type RawState;
    type RawStorage;
    /// The synchronous key-value storage. Values are bytes. A string would be copied to JavaScript character by character, and
    /// stored with two bytes for each character if one of them is outside Latin-1.
    pub type Documents;

    /// When the runtime last answered a heartbeat of this socket.
    #[wasm_bindgen(method, js_name = getWebSocketAutoResponseTimestamp)]
    pub fn auto_response_at(this: &RawState, socket: &web_sys::WebSocket) -> Option<Date>;

    #[wasm_bindgen(method, getter)]
    fn storage(this: &RawState) -> RawStorage;

    #[wasm_bindgen(method, getter)]
    fn kv(this: &RawStorage) -> Documents;

    #[wasm_bindgen(method, catch)]
    pub fn get(this: &Documents, name: &str) -> Result<Option<Uint8Array>, JsValue>;

    #[wasm_bindgen(method, catch)]
    pub fn put(this: &Documents, name: &str, bytes: &Uint8Array) -> Result<(), JsValue>;
}

impl RawState {
    pub fn of(state: &State) -> &Self {
        AsRef::<JsValue>::as_ref(state.as_raw()).unchecked_ref()
    }

    pub fn documents(&self) -> Documents {
        self.storage().kv()
    }
}
