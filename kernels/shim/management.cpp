// The management library (NVML) for the card of `driver.cpp`: what it is to a program, without a GPU. It says the same at all times. With
// `SHIM_XID` the card reports that error once.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace {

enum Result : int {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_FOUND = 6,
    TIMEOUT = 10,
    ARGUMENT_VERSION_MISMATCH = 25,
};

/// That of the driver's card.
const char* const UUID = "GPU-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

constexpr unsigned long long XID_CRITICAL_ERROR = 8;

struct Utilization {
    unsigned gpu, memory;
};

struct Memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct EventData {
    void* device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

/// What handles point to.
int card;

struct EventSet {
    std::atomic<unsigned long long> types = 0;
};

std::atomic<bool> has_reported = false;

}  // namespace

/// What every call for a card begins with.
#define BEGIN \
    if (device != &card) return INVALID_ARGUMENT

extern "C" {

int nvmlInit_v2() { return SUCCESS; }
int nvmlShutdown() { return SUCCESS; }

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
    if (std::strcmp(uuid, UUID) != 0) return NOT_FOUND;
    return *device = &card, SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void* device, Utilization* rates) {
    BEGIN;
    return *rates = {37, 12}, SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void* device, Memory* memory) {
    BEGIN;
    if (memory->version != (sizeof(Memory) | 2 << 24)) return ARGUMENT_VERSION_MISMATCH;
    memory->total = 500000000;
    memory->reserved = 20000000;
    memory->free = 180000000;
    memory->used = 300000000;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void* device, int sensor, unsigned* celsius) {
    BEGIN;
    return sensor == 0 ? (*celsius = 41, SUCCESS) : INVALID_ARGUMENT;
}

int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
    BEGIN;
    return *milliwatts = 250500, SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(void* device, int kind, int counter, unsigned long long* count) {
    BEGIN;
    // Those since the driver was loaded, or else of the card's life.
    const bool is_volatile = counter == 0;
    const bool is_corrected = kind == 0;
    return *count = (is_volatile ? 0 : 100) + (is_corrected ? 3 : 1), SUCCESS;
}

int nvmlEventSetCreate(EventSet** set) { return *set = new EventSet(), SUCCESS; }
int nvmlEventSetFree(EventSet* set) { return delete set, SUCCESS; }

int nvmlDeviceRegisterEvents(void* device, unsigned long long types, EventSet* set) {
    BEGIN;
    return set->types = types, SUCCESS;
}

int nvmlEventSetWait_v2(EventSet* set, EventData* event, unsigned milliseconds) {
    const char* xid = std::getenv("SHIM_XID");
    if (xid != nullptr && (set->types & XID_CRITICAL_ERROR) != 0 && !has_reported.exchange(true)) {
        *event = {&card, XID_CRITICAL_ERROR, std::strtoull(xid, nullptr, 10), 0, 0};
        return SUCCESS;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return TIMEOUT;
}

}  // extern "C"
