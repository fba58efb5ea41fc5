// Of cuBLAS what the program calls, for the driver's card: products of 16-bit floats that are summed as floats.
//
// A product is asked of the handle's stream as a launch is: recorded while the stream captures, and done when somebody waits. Addresses are
// checked then, types and the distances of rows at once. As the library's, a row's bits depend on how many rows there are: the inputs of a row
// alone are summed from the first to the last, those of several from the last to the first.
#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "driver.hpp"

#include "device.hpp"

using driver::host;
using driver::is_on_card;

namespace {

/// By the numbers in its header, as all that follow.
enum Status : int {
    DONE = 0,
    NO_HANDLE = 1,
    INVALID = 7,
    FAILED = 13,
    UNSUPPORTED = 15,
};

enum Type : int { R_32F = 0, R_16F = 2, R_16BF = 14 };

constexpr int NOT_TRANSPOSED = 0, TRANSPOSED = 1, COMPUTE_32F = 68, ALGORITHM_DEFAULT = -1, NO_REDUCED_SUMS = 16;

struct Handle {
    void* stream = nullptr;
    uint64_t workspace = 0;
    size_t workspace_len = 0;
    int math_mode = 0;
};

std::set<Handle*>& handles() {
    static auto* all = new std::set<Handle*>();
    return *all;
}

/// What was last refused, to this thread.
thread_local std::string said;

Status refuse(Status status, const std::string& why) { return said = why, status; }

size_t bytes_of(int type) { return type == R_32F ? 4 : 2; }

template <class T>
T get(uint64_t address, size_t i) {
    T value;
    std::memcpy(&value, host(address) + i * sizeof(T), sizeof(T));
    return value;
}

/// Rows of x with rows of w: columns of C with columns of A and B, as the library calls them.
struct Product {
    int n, rows, k;
    uint64_t w, x, out;
    int w_distance, x_distance, out_distance;
    float alpha, beta;

    template <class T>
    std::vector<float> row(uint64_t address, int distance, int at) const {
        std::vector<float> values(k);
        for (int i = 0; i < k; i++) values[i] = to_float(get<T>(address, size_t(at) * distance + i));
        return values;
    }

    template <class T, class Out>
    void compute() const {
        std::vector<std::vector<float>> weights;
        for (int o = 0; o < n; o++) weights.push_back(row<T>(w, w_distance, o));
        for (int t = 0; t < rows; t++) {
            const std::vector<float> values = row<T>(x, x_distance, t);
            for (int o = 0; o < n; o++) {
                float sum = 0;
                for (int i = 0; i < k; i++) {
                    const int at = rows > 1 ? k - 1 - i : i;
                    sum += values[at] * weights[o][at];
                }
                const size_t at = size_t(t) * out_distance + o;
                sum *= alpha;
                // What is there is not read where it counts for nothing.
                if (beta != 0) sum += beta * to_float(get<Out>(out, at));
                const Out value = from_float<Out>(sum);
                std::memcpy(host(out) + at * sizeof(Out), &value, sizeof(Out));
            }
        }
    }

    template <class T>
    void compute_to(int type) const {
        if (type == R_32F) compute<T, float>();
        else compute<T, T>();
    }
};

}  // namespace

#define BEGIN_BLAS(handle)                                                                                        \
    const std::lock_guard guard(driver::lock());                                                                  \
    if (driver::state() != driver::SUCCESS) return refuse(FAILED, "the card has failed, or there is no context"); \
    if (handles().count(handle) == 0) return refuse(NO_HANDLE, "there is no such handle")

extern "C" {

int cublasCreate_v2(Handle** handle) {
    const std::lock_guard guard(driver::lock());
    if (driver::state() != driver::SUCCESS) return refuse(NO_HANDLE, "the card has failed, or there is no context");
    // As the runtime below it does.
    driver::hold();
    *handle = new Handle();
    handles().insert(*handle);
    return DONE;
}

int cublasDestroy_v2(Handle* handle) {
    const std::lock_guard guard(driver::lock());
    if (handles().erase(handle) == 0) return refuse(NO_HANDLE, "there is no such handle");
    delete handle;
    return DONE;
}

int cublasSetStream_v2(Handle* handle, void* stream) {
    BEGIN_BLAS(handle);
    // The workspace is again the library's own.
    *handle = {stream, 0, 0, handle->math_mode};
    return DONE;
}

int cublasSetMathMode(Handle* handle, int mode) {
    BEGIN_BLAS(handle);
    handle->math_mode = mode;
    return DONE;
}

int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t len) {
    BEGIN_BLAS(handle);
    const auto address = reinterpret_cast<uint64_t>(workspace);
    if (address % 256 != 0 || !is_on_card(address, len)) return refuse(INVALID, "a workspace that is not the card's, or not at 256 bytes");
    handle->workspace = address, handle->workspace_len = len;
    return DONE;
}

const char* cublasGetStatusString(int) { return said.c_str(); }

int cublasGemmEx(Handle* handle, int trans_a, int trans_b, int m, int n, int k, const float* alpha, const void* a, int a_type,
                 int lda, const void* b, int b_type, int ldb, const float* beta, void* c, int c_type, int ldc, int compute_type,
                 int algorithm) {
    BEGIN_BLAS(handle);
    if (trans_a != TRANSPOSED || trans_b != NOT_TRANSPOSED || compute_type != COMPUTE_32F || algorithm != ALGORITHM_DEFAULT)
        return refuse(UNSUPPORTED, "the shim multiplies rows with rows, and sums floats");
    if (handle->math_mode != NO_REDUCED_SUMS) return refuse(UNSUPPORTED, "sums that may be rounded to 16 bits on their way");
    if ((a_type != R_16F && a_type != R_16BF) || b_type != a_type || (c_type != a_type && c_type != R_32F))
        return refuse(UNSUPPORTED, "types that do not go together");
    if (m < 0 || n < 0 || k < 0 || lda < std::max(k, 1) || ldb < std::max(k, 1) || ldc < std::max(m, 1))
        return refuse(INVALID, "a row is longer than the distance to the next");
    if (handle->workspace_len == 0) return refuse(UNSUPPORTED, "without a workspace of the caller's nothing can be recorded");
    const Product product{m, n, k, reinterpret_cast<uint64_t>(a), reinterpret_cast<uint64_t>(b), reinterpret_cast<uint64_t>(c),
                          lda, ldb, ldc, *alpha, *beta};
    const uint64_t workspace = handle->workspace;
    const size_t workspace_len = handle->workspace_len;
    const auto work = [=] {
        if (m == 0 || n == 0) return driver::SUCCESS;
        const auto fits = [](uint64_t address, int rows, int distance, int width, size_t bytes) {
            return address % bytes == 0 && is_on_card(address, (size_t(rows - 1) * distance + width) * bytes);
        };
        if (!fits(product.w, m, lda, k, 2) || !fits(product.x, n, ldb, k, 2) || !fits(product.out, n, ldc, m, bytes_of(c_type)))
            return driver::fail(driver::ILLEGAL_ADDRESS, "cublasGemmEx: a matrix outside of the card's memory");
        if (!is_on_card(workspace, workspace_len))
            return driver::fail(driver::ILLEGAL_ADDRESS, "cublasGemmEx: the workspace is not there any more");
        if (a_type == R_16F) product.compute_to<f16>(c_type);
        else product.compute_to<bf16>(c_type);
        return driver::SUCCESS;
    };
    return driver::ask(handle->stream, work, true) == driver::SUCCESS ? DONE : refuse(FAILED, "there is no such stream");
}

}  // extern "C"
